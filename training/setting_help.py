"""Help texts of all training settings, for the command line and for forms."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SETTING_HELP: Final[Mapping[str, str]] = MappingProxyType(
    {
        "data": "Folders of class folders, FER2013 CSV files, or parquet files, which name their splits.",
        "architecture": "Name of an architecture in ``fer.networks``.",
        "heads": (
            "Outputs of the network: ``crowd`` (six expressions and other), ``fer2013`` (seven "
            "labels), ``votes`` (seven expressions and other, from crowd votes) and ``web`` (seven "
            "labels of other data sets). With ``votes`` and ``web``, the heads ``six`` and ``seven`` are "
            "fitted to all heads after the last epoch; ``six`` gives the default answer. ``own`` cannot be "
            "combined with other heads; it learns the classes of the data, whatever their names, and is "
            "chosen automatically if none of them is an expression."
        ),
        "labels": "Classes of the head ``own``, in output order; empty for those of the data.",
        "teaches": (
            "Entries ``STEM=HEAD+HEAD``: the heads that a data set trains; STEM is the name of its file "
            "or folder without extension, such as ``rafdb=web``. Data sets without an entry train all heads."
        ),
        "insets": (
            "Entries ``STEM=SHARE``: the share to crop from each side of the images of a data set with "
            "wider framing, such as ``affectnet96=0.1``."
        ),
        "draws": (
            "Entries ``STEM=SHARE``: the share of a data set's images drawn at random in each epoch, "
            "in (0, 1], such as ``fer2013_train=0.3``."
        ),
        "size": "Side of the crops in pixels; 0 for that of the initial weights, 48 without any.",
        "colour": (
            "``grey`` for crops of one channel; ``rgb`` for three, whose colours the augmentation varies "
            "and removes from some crops; ``auto`` as for the initial weights, grey without any."
        ),
        "initial_weights": (
            "A weights folder or run directory to start from, of the same architecture or of a narrower one "
            "of the same depth, which is widened; empty to start from random weights."
        ),
        "teachers": "Weights folders or run directories of the teachers for knowledge distillation.",
        "teacher_share": "Weight of the distillation loss, in [0, 1].",
        "teacher_temperature": "Distillation temperature, for teachers and student.",
        "other_places": (
            "Parquet files of crops without a face, from ``training.crop_others``: after the last "
            "epoch, only the output ``other`` is fitted to them."
        ),
        "epochs": "Maximum number of passes over the training split.",
        "batch_size": "Images per step.",
        "optimizer": "``sgd`` uses Nesterov momentum 0.9.",
        "learning_rate": "Peak learning rate.",
        "schedule": (
            "``cosine`` decays to 0, ``plateau`` divides by 10 when the validation loss stops improving, "
            "``step`` divides by 10 after half and again after three quarters of the epochs."
        ),
        "warmup_epochs": "Epochs of linear warm-up to the peak learning rate.",
        "plateau_patience": "Epochs without a better validation loss before ``plateau`` lowers the rate.",
        "weight_decay": "L2 strength; not applied to biases and normalisation.",
        "dropout": "Share of features dropped before the heads; None for the architecture's default.",
        "crowd_share": (
            "Weight of the head ``crowd`` (without it, of the first head) in the loss, in [0, 1]; "
            "the other heads share the rest."
        ),
        "class_balance": (
            "Exponent of the inverse-frequency class weights, in [0, 1]; 0 is off, 0.5 is the square root."
        ),
        "prior_shift": (
            "Strength of the logit adjustment that corrects the first head's bias towards frequent "
            "expressions after the training, in [0, 1]."
        ),
        "mirror_average": (
            "Average over each crop and its mirror image in evaluation and use, at twice the inference time: "
            "more accurate with small crops. By default as for the initial weights; on without any."
        ),
        "inner_view": (
            "Average also over the centre of each crop in evaluation and use; side of the centre as a share "
            "of the crop's side, 1 is off. Doubles the inference time and makes answers less sensitive to "
            "how tightly a face is cropped."
        ),
        "mixup": "Beta parameter of mixup; 0 is off; off for the last 15 % of epochs.",
        "augment": "Augment the training split by random transforms.",
        "augment_strength": (
            "Frequency of changes of light, degradation and occlusion, in [0, 1]; lower is better for small "
            "networks and short trainings."
        ),
        "early_epochs": "First epochs on crops of ``early_side`` pixels, which are faster; 0 is off.",
        "early_side": "Side of those crops in pixels, after the random transforms.",
        "ema_decay": "Decay of the averaged weights per step; 0 is off.",
        "early_stopping_patience": "Epochs without a better validation metric before stopping; 0 is never.",
        "select_by": "Validation metric that selects the best epoch.",
        "watch_share": (
            "Share of the validation split that is evaluated after each epoch, in (0, 1]; a smaller share is "
            "faster. The final report always uses the whole split."
        ),
        "val_share": (
            "Share of the training split to hold out for validation if the data has no validation split."
        ),
        "keep_duplicates": "Keep duplicate images.",
        "seed": "Random seed.",
        "device": "``auto`` uses CUDA if there is a GPU.",
        "precision": "``auto`` uses bfloat16 where the hardware is fast at it.",
        "thread_count": "CPU threads of PyTorch; 0 for PyTorch's default.",
        "compile": (
            "Compile the network first: about a minute for steps that are 10 to 25 % faster; needs a C++ "
            "compiler."
        ),
        "tensorboard": "Also write the metrics of each epoch for TensorBoard into the run directory.",
        "runs": "Parent folder of the run directory.",
        "name": "Name of the run directory; empty for ``<time>_<architecture>``.",
    }
)
"""Help text of each setting."""
