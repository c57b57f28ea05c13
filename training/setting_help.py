"""Help of every setting of a training, for the command line and for forms."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SETTING_HELP: Final[Mapping[str, str]] = MappingProxyType(
    {
        "data": "Folders of class folders, FER2013 CSV files, or parquet files; splits are named in them.",
        "architecture": "A name that ``fer.networks`` builds.",
        "heads": (
            "Outputs of the network: ``crowd`` (six expressions and other), ``fer2013`` (seven "
            "labels), ``votes`` (seven expressions and other, from crowd votes) and ``web`` (seven "
            "labels of other sets). With ``votes`` and ``web`` the heads ``six`` and ``seven`` are "
            "fitted over all heads after last epoch; ``six`` is the default answer. ``own`` stands alone "
            "and learns the classes of the data, whatever they are called; it is chosen where none of "
            "them is an expression."
        ),
        "labels": ("Classes of the head ``own`` in the order of its outputs; empty takes those of the data."),
        "teaches": (
            "Entries ``STEM=HEAD+HEAD``: which heads a data set teaches, by the name of its file or "
            "folder without ending, such as ``rafdb=web``. A set that is not named teaches every "
            "head."
        ),
        "insets": (
            "Entries ``STEM=SHARE``: what is cut off on each side of a data set that frames faces "
            "wider, such as ``affectnet96=0.1``."
        ),
        "draws": (
            "Entries ``STEM=SHARE``: which share of a data set's pictures one epoch draws, in (0, 1], "
            "such as ``fer2013_train=0.3``; each epoch draws others."
        ),
        "size": "Side of the crops in pixels.",
        "initial_weights": (
            "A weights folder to start from, of this architecture or of a narrower one of its depth, "
            "which is then widened; empty to start from random weights."
        ),
        "teachers": "Weights folders whose answers the network learns besides the labels.",
        "teacher_share": "Their weight in the loss, in [0, 1].",
        "teacher_temperature": "Softens teachers and student alike.",
        "other_places": (
            "Parquet files of crops without a face, from ``training.crop_others``: after the last "
            "epoch the output ``other`` alone is fitted to them."
        ),
        "epochs": "Passes over the training split at most.",
        "batch_size": "Pictures a step.",
        "optimizer": "``sgd`` has Nesterov momentum 0.9.",
        "learning_rate": "The peak.",
        "schedule": (
            "``cosine`` falls to 0, ``plateau`` divides by 10 when the validation loss rests, "
            "``step`` divides by 10 at half and again at three quarters of the epochs."
        ),
        "warmup_epochs": "Epochs of linear rise to the peak.",
        "plateau_patience": "Epochs without a better validation loss before the rate falls.",
        "weight_decay": "L2 strength; not on biases and normalisation.",
        "dropout": "Share of features dropped before the heads; None for the architecture's own.",
        "crowd_share": (
            "Weight of the head ``crowd`` (of the first head where there is none) in the loss, in [0, "
            "1]; the other heads share the rest."
        ),
        "class_balance": (
            "Strength of the inverse-frequency weights, in [0, 1]; 0 is off, 0.5 is square root."
        ),
        "prior_shift": (
            "How far the first head's lead of frequent expressions is taken back after the training, "
            "in [0, 1]."
        ),
        "mirror_average": (
            "Answer with the mean over a crop and its mirror image when the network is judged and "
            "used: better, at twice the time."
        ),
        "inner_view": (
            "Look at the middle of each crop besides when the network is judged and used; its side as "
            "a share of the crop's, 1 is none. At twice the time, less depends on how closely a face "
            "is framed."
        ),
        "mixup": "Beta parameter of mixup; 0 is off; off for the last 15 % of epochs.",
        "augment": "Random transforms of the training split.",
        "augment_strength": (
            "How often light, damage and covering happen, in [0, 1]; small networks and short "
            "trainings want less."
        ),
        "early_epochs": "The first epochs see crops of ``early_side`` pixels, which is quicker; 0 is none.",
        "early_side": "Side to which those crops are shrunk after their random transforms.",
        "ema_decay": "Decay of the averaged weights a step, 0 is off.",
        "early_stopping_patience": "Epochs without a better validation figure before stopping; 0 is never.",
        "select_by": "The validation figure that picks the best epoch.",
        "watch_share": (
            "Share of the validation split that is judged after each epoch, in (0, 1]; less is quicker. The "
            "report judges all of it."
        ),
        "val_share": (
            "Share of the training split that becomes the validation split where the data names none."
        ),
        "keep_duplicates": "Leave pictures that stand in the data more than once where they are.",
        "seed": "Of every random choice.",
        "device": "``auto`` takes CUDA where there is a card.",
        "precision": "``auto`` is bfloat16 where the hardware is fast at it.",
        "thread_count": "CPU threads of PyTorch; 0 leaves it to PyTorch.",
        "runs": "The folder that gets the run directory.",
        "name": "The run directory's name; empty for ``<time>_<architecture>``.",
    }
)
"""Help of each setting, for the command line and for forms."""
