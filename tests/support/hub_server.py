"""The part of the Hub's HTTP interface that loading and pushing use, over a folder of repositories."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

SHA = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", SHA)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status: int, body: bytes = b"", **headers):
        self.send_response(status)
        for name, value in {"X-Repo-Commit": SHA, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value):
        self.reply(200, json.dumps(value).encode(), Content_Type="application/json")

    def files(self, repo: str) -> list[Path]:
        folder = self.server.root / repo
        return [file for file in sorted(folder.rglob("*")) if file.is_file()]

    def do_GET(self):
        path = self.path.split("?")[0]
        named = re.search(r"/(?:resolve|revision|tree)/([^/]+)", path)
        if named and named[1] not in REVISIONS:
            return self.reply(404, X_Error_Code="RevisionNotFound")
        if match := re.fullmatch(r"/(?:datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repo, _, name = match.groups()
            file = (self.server.root / repo / name).resolve()
            if not file.is_file() or self.server.root not in file.parents:
                return self.reply(404, X_Error_Code="EntryNotFound")
            body = file.read_bytes()
            return self.reply(200, body, ETag=f'"{hashlib.sha256(body).hexdigest()}"', Accept_Ranges="none")
        if match := re.fullmatch(
            r"/api/(?:models|datasets|spaces)/([^/]+/[^/]+)(?:/(revision|tree)/[^/]+(?:/(.+))?)?", path
        ):
            repo, what, below = match.groups()
            if not (self.server.root / repo).is_dir():
                return self.reply(404, X_Error_Code="RepoNotFound")
            names = [(str(file.relative_to(self.server.root / repo)), file.stat().st_size) for file in self.files(repo)]
            if below:
                names = [each for each in names if each[0].startswith(f"{below}/")]
                if not names:
                    return self.reply(404, X_Error_Code="EntryNotFound")
            if what == "tree":
                return self.json([{"type": "file", "path": name, "size": size, "oid": SHA} for name, size in names])
            siblings = [{"rfilename": name} for name, _ in names]
            return self.json(
                {"id": repo, "modelId": repo, "sha": SHA, "private": False, "tags": [], "siblings": siblings}
            )
        self.reply(404, X_Error_Code="EntryNotFound")

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Transfer-Encoding") == "chunked" and not body:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        if self.path == "/api/repos/create":
            request = json.loads(body)
            repo = "/".join(filter(None, [request.get("organization") or "me", request["name"].split("/")[-1]]))
            (self.server.root / repo).mkdir(parents=True, exist_ok=True)
            return self.json({"url": f"{self.server.url}/{repo}", "name": repo, "id": repo})
        if self.path == "/api/validate-yaml":
            return self.json({"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/(?:models|datasets|spaces)/([^/]+/[^/]+)/preupload/.+", self.path):
            files = json.loads(body)["files"]
            return self.json(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
            )
        if match := re.fullmatch(r"/api/(?:models|datasets|spaces)/([^/]+/[^/]+)/commit/.+", self.path):
            for line in body.decode().splitlines():
                operation = json.loads(line)
                if operation["key"] == "file":
                    file = self.server.root / match[1] / operation["value"]["path"]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(base64.b64decode(operation["value"]["content"]))
            return self.json({"commitUrl": f"{self.server.url}/{match[1]}/commit/{SHA}", "commitOid": SHA})
        if match := re.fullmatch(r"/api/spaces/([^/]+/[^/]+)/variables", self.path):
            (self.server.root / match[1] / "variables.json").write_bytes(body)
            return self.json({})
        self.reply(404)


def start(root: Path) -> ThreadingHTTPServer:
    """Serves `root`/USER/NAME on a free port of this machine; `.url` is its address. End it with `.shutdown()`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.root, server.url = root.resolve(), f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    return server
