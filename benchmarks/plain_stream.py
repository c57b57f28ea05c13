"""The baseline page with Gradio's own image stream: ``python -m benchmarks.plain_stream PORT DETECTOR``."""

import os
import sys

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from fer import FaceAnnotator
from fer.images import RgbImage
from webapp.analyzers import AnalyzerShelf


def main() -> None:
    """Serve a page that sends every frame to the server, which returns it as an annotated image."""
    analyzer = AnalyzerShelf(detector=sys.argv[2]).get(live=True)
    annotator = FaceAnnotator()

    def annotate(frame: RgbImage | None) -> RgbImage | None:
        return None if frame is None else annotator.annotate(frame, analyzer.analyze(frame))

    with gr.Blocks() as page:
        mirror = gr.WebcamOptions(mirror=False)  # the number in the image must stay readable
        camera = gr.Image(sources=["webcam"], streaming=True, type="numpy", webcam_options=mirror)
        shown = gr.Image(elem_id="shown")
        camera.stream(annotate, camera, shown, stream_every=1 / 30, time_limit=3600, concurrency_limit=8)
    page.launch(server_port=int(sys.argv[1]), quiet=True)


if __name__ == "__main__":
    main()
