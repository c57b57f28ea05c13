"""The dashboard: monitor and analyse trainings, train on your own images."""

import sys
from collections.abc import Callable

import numpy as np
import streamlit
from PIL import Image
from starlette.middleware import Middleware

from dashboard import data, models, run, runs, train
from dashboard.places import parse_places
from dashboard.spoken import page_catalogue, show_switch, st
from fer.door import Door
from fer.passwords import PasswordFileError, read_users


def curve_icon() -> Image.Image:
    """Return the page icon, a rising curve."""
    side = 64
    rows, columns = np.mgrid[0:side, 0:side] / side
    distance = np.abs(rows - (0.2 + 0.6 * np.exp(-5 * columns)))
    share = np.clip((0.07 - distance) * side / 2, 0, 1)[..., None]
    colours = share * np.array([255, 255, 255]) + (1 - share) * np.array([0, 112, 107])
    return Image.fromarray(colours.astype(np.uint8))


def main() -> None:
    """Lay out the pages; Streamlit calls this for every visitor and interaction."""
    # Drawn here, because a named icon would be fetched from the internet.
    st.set_page_config("KV FaceRecognition · Training", curve_icon(), layout="wide")
    places = parse_places(sys.argv[1:])
    say = page_catalogue().word

    def open_run(name: str) -> None:
        st.switch_page(pages["run"], query_params={"run": name})

    def open_page(name: str) -> Callable[[], None]:
        return lambda: st.switch_page(pages[name])

    def runs_page() -> None:
        runs.show(places, open_run, open_page("train"))

    def run_page() -> None:
        run.show(places, open_page("models"))

    def data_page() -> None:
        data.show(places, open_page("train"))

    def train_page() -> None:
        train.show(places, open_run, open_page("data"))

    def models_page() -> None:
        models.show(places)

    pages = {
        "runs": st.Page(
            runs_page, title=say("Runs"), icon=":material/stacked_line_chart:", url_path="runs", default=True
        ),
        "run": st.Page(run_page, title=say("Run"), icon=":material/query_stats:", url_path="run"),
        "data": st.Page(
            data_page, title=say("Pictures"), icon=":material/photo_library:", url_path="pictures"
        ),
        "train": st.Page(train_page, title=say("Train"), icon=":material/model_training:", url_path="train"),
        "models": st.Page(models_page, title=say("Models"), icon=":material/face:", url_path="models"),
    }
    page = st.navigation(list(pages.values()))
    with st.sidebar:
        show_switch()
    page.run()


def door() -> Middleware:
    """Restrict access, by default to this machine, because the pages start programs and delete folders."""
    places = parse_places(sys.argv[1:])
    try:
        users = None if places.auth is None else read_users(places.auth)
    except PasswordFileError as error:
        sys.exit(str(error))
    return Middleware(Door, trusted_hosts=places.trusted_hosts, users=users, local_only=True)


if __name__ != "__main__":  # imported by the server, which then runs it as a script for every visitor
    # Streamlit looks for these very words in the source and would serve the pages without the door otherwise.
    app = streamlit.App(__file__, middleware=[door()])
elif "streamlit_app" in sys.modules:
    main()
else:
    st.error("The dashboard is closed: its server was started without access control. Restart it.")
