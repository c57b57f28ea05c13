"""Measure the memory of a watch over time, with a local stream whose sender is killed and restarted."""

import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

import av

from benchmarks.video import loop
from training.command import run_command

LOOPED_S = 900.0  # so that times step back only every quarter of an hour


@dataclass(frozen=True)
class WatchBenchmark:
    """Watch a clip that a local HTTP sender repeats in real time.

    Attributes:
        clip: A video.
        minutes: Duration in minutes.
        kills: Number of times the sender is killed with SIGKILL and restarted 10 s later.
        every: Seconds between two analysed frames.
        send_on: Internal: act as the sender, on this port.
    """

    clip: Path
    minutes: float = 10.0
    kills: int = 3
    every: float = 0.5
    send_on: int | None = None


def main(options: WatchBenchmark) -> None:
    if options.send_on is not None:
        send(options.clip, options.send_on)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "faces.sqlite"
        sender = start_sender(options.clip, port)
        wait_for(port)
        words = [f"http://127.0.0.1:{port}/live.ts", "--log", str(log), "--every", str(options.every)]
        watch = subprocess.Popen([sys.executable, "-m", "fer", "watch", *words])
        length_s = 60 * options.minutes
        kill_at = [length_s * (i + 1) / (options.kills + 1) for i in range(options.kills)]
        back_at: list[float] = []
        start = time.monotonic()
        memory: list[tuple[float, float]] = []
        while (now := time.monotonic() - start) < length_s and watch.poll() is None:
            if kill_at and now >= kill_at[0]:
                kill_at.pop(0)
                sender.kill()
                sender.wait()
                back_at.append(now + 10)
            if back_at and now >= back_at[0]:
                back_at.pop(0)
                sender = start_sender(options.clip, port)
            memory.append((now, resident_mb(watch.pid)))
            time.sleep(1)
        watch.terminate()
        status = watch.wait(30)
        sender.kill()
        sender.wait()
        tell(memory, log, status)


def tell(memory: list[tuple[float, float]], log: Path, status: int) -> None:
    for minute in range(int(memory[-1][0] // 60) + 1):
        values = [value for at, value in memory if at // 60 == minute]
        print(f"minute {minute + 1:2}: {max(values):6.1f} MB resident (maximum)")
    with sqlite3.connect(log) as connection:
        looks, rows = connection.execute(
            "SELECT SUM(look_count), (SELECT COUNT(*) FROM faces) FROM runs"
        ).fetchone()
        gaps = connection.execute("SELECT end_s - start_s, reason FROM gaps ORDER BY start_s").fetchall()
    connection.close()
    print(
        f"exit status {status}, {looks} analysed frames, {rows} rows, log of {log.stat().st_size / 1e3:.0f} kB"
    )
    for length_s, reason in gaps:
        print(f"gap of {'unknown length' if length_s is None else f'{length_s:.1f} s'}: {reason}")


def wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.2)


def resident_mb(pid: int) -> float:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4096 / 1e6


def start_sender(clip: Path, port: int) -> subprocess.Popen:
    words = [sys.executable, "-m", "benchmarks.watch", "--clip", str(clip), "--send-on", str(port)]
    return subprocess.Popen(words)


def send(clip: Path, port: int) -> None:
    """Serve the clip as a looped transport stream in real time."""
    with tempfile.TemporaryDirectory() as folder:
        looped = Path(folder) / "looped.mp4"
        loop(clip, looped, LOOPED_S)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                with suppress(OSError, av.FFmpegError):  # the client disconnected
                    while True:
                        play(looped, self.wfile)

            def log_message(self, *words: object) -> None:
                pass

        ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def play(video: Path, target: BinaryIO) -> None:
    """Send every packet at its presentation time."""
    with (
        av.open(str(video)) as source,
        av.open(target, "w", format="mpegts", options={"flush_packets": "1"}) as sent,
    ):
        track = source.streams.video[0]
        stream = sent.add_stream_from_template(track)
        start_s = time.monotonic()
        for packet in source.demux(track):
            if packet.dts is not None:
                time.sleep(max(start_s + float(packet.dts * track.time_base) - time.monotonic(), 0))
                packet.stream = stream
                sent.mux(packet)


if __name__ == "__main__":
    sys.exit(run_command(WatchBenchmark, main, "benchmarks.watch"))
