"""A photo with every face covered."""

import sys
from typing import Final

from PIL import Image

from fer.anonymising import cover_faces, load_eager_detector
from fer.commands import CommandError, say
from fer.commands.options import AnalyzeOptions
from fer.files import replaced
from fer.images import UnreadableImageError, read_picture

_QUALITY: Final = 92


def run_covered_photo(options: AnalyzeOptions) -> int:
    """Write a copy of one photo, without its metadata, on which nobody can be told.

    Raises:
        CommandError: No single photo, one that cannot be read, or a place that cannot be written.
    """
    if len(options.paths) != 1 or options.paths[0].is_dir():
        raise CommandError("expected one photo or video to go with --anonymise")
    if options.csv or options.parquet:
        raise CommandError("--anonymise writes the covered photo only; leave --csv and --parquet out")
    path, output, cover = options.paths[0], options.output, options.anonymise
    if output is None or cover is None:
        raise CommandError("--anonymise needs an --output to write the covered copy to")
    finder = load_eager_detector(options.detector)
    try:
        picture = read_picture(path)
        boxes = [detection.box for detection in finder.detect(picture.image)]
        covered = Image.fromarray(cover_faces(picture.image, boxes, cover))
        with replaced(output) as temporary:
            covered.save(temporary, quality=_QUALITY)
    except UnreadableImageError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{output} cannot be written ({error.strerror or error})") from error
    for note in picture.notes:
        say(f"{path} {note}", sys.stderr)
    say(f"{path}: {len(boxes)} {'place' if len(boxes) == 1 else 'places'} covered in {output}", sys.stdout)
    return 0
