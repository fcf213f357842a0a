"""Importing the package and loading a local folder connects to nothing, starts no program, and writes no file outside
of the caches.
"""

import json
import os
import subprocess
import sys

WATCH = """
import json, os, sys
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.posix_spawn", "os.exec"):
        seen.append([event, repr(arguments[:2])])
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append([event, str(arguments[0])])
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
        seen.append([event, str(arguments[0])])
sys.addaudithook(watch)
import heartcare, heartcare.agent.readers, heartcare.serving_heartcare
from heartcare import HeartcareForConditionalGeneration, HeartcareProcessor
folder, record = sys.argv[1:]
processor = HeartcareProcessor.from_pretrained(folder)
HeartcareForConditionalGeneration.from_pretrained(folder)
processor.feature_extractor(record)
print(json.dumps(seen))
"""


def test_importing_and_loading_a_folder_touch_nothing(tiny_folder, root, tmp_path):
    for name in ("work", "temporary"):
        (tmp_path / name).mkdir()
    caches = {name: str(tmp_path / "cache") for name in ("HF_HOME", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR")}
    environment = {
        **os.environ,
        **caches,
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(tmp_path / "temporary"),
    }
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-W", "ignore", "-c", WATCH, tiny_folder, root / "examples/ecgs/sinus_rhythm"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=tmp_path / "work", env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    allowed = ("/dev/null", str(tmp_path / "cache"), str(tmp_path / "temporary"))
    assert not [event for event in json.loads(done.stdout.splitlines()[-1]) if not event[1].startswith(allowed)]
    assert not any((tmp_path / "work").iterdir()) and not any((tmp_path / "temporary").iterdir())
