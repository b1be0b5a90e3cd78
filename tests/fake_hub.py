"""A Hugging Face Hub on this machine, for tests without a network: standard library only, repositories in memory.

It answers what `huggingface_hub` asks for when it downloads, lists, creates, uploads and opens pull requests, with the
codes and headers of the real one, and misbehaves on request (`FakeHub.fault`). Files with a suffix of `lfs_suffixes`
are Git LFS files: named by their SHA-256, uploaded apart. Not served: xet, pages of listings, renamed repositories.

    with FakeHub() as hub:
        hub.add_repo("user/repo", {"index.json": b"{}"})
        ...
        hub.requests                    # ["HEAD /user/repo/resolve/main/index.json", ...]
        hub.files("user/repo")          # {"index.json": b"{}"}
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TIMESTAMP = "2026-01-01T00:00:00.000Z"
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"  # not one that was ever issued
USER = "tester"

Files = dict[str, bytes]


@dataclass
class Repo:
    """A repository: its commits (sha -> files), its branches and pull requests (name -> sha)."""

    id: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit({}, message="initial commit")

    def commit(
        self, files: Mapping[str, bytes], deleted: Iterable[str] = (), message: str = "commit", revision: str = "main"
    ) -> str:
        """Add a commit on top of a branch and return its sha; `deleted` holds files or folders."""
        tree = dict(self.commits.get(self.refs.get(revision, ""), {}))
        for path in deleted:
            folder = path.rstrip("/") + "/"
            tree = {name: data for name, data in tree.items() if name != path and not name.startswith(folder)}
        tree.update(files)
        sha = hashlib.sha1(f"{self.id} {len(self.commits)} {message}".encode()).hexdigest()
        self.commits[sha] = tree
        self.messages.append(message)
        self.refs[revision] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        """The sha of a branch, pull request or commit, None if there is none."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)

    @property
    def head(self) -> str:
        """The newest commit of the default branch."""
        return self.refs["main"]


@dataclass
class Fault:
    """A misbehaviour: what it does to which requests, "METHOD /path" by a regular expression, and how many of them."""

    pattern: str
    times: int = 10**9
    status: int | None = None  # answer with this error
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "fault"
    delay: float = 0.0  # answer so many seconds late
    drop: bool = False  # hang up instead
    cut: int | None = None  # break the connection after so many bytes of the body
    gently: bool = False  # close it instead
    content: Callable[[bytes], bytes] | None = None  # send this instead of the file


class Server(ThreadingHTTPServer):
    """One thread for each connection, and no complaints about those that clients break."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet; the test sees what the client makes of it."""


class FakeHub:
    """The server; it runs in a daemon thread within a `with` statement."""

    def __init__(self, lfs_suffixes: Iterable[str] = (".safetensors",)) -> None:
        self.lfs_suffixes = tuple(lfs_suffixes)
        self.repos: dict[str, Repo] = {}
        self.lfs_objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.connections: set[socket.socket] = set()
        self.lock = threading.RLock()
        self.stopped = threading.Event()
        self.server = Server(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Refuse connections from now on, and hang up on those that clients keep alive."""
        if self.stopped.is_set():
            return
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the client was faster

    def add_repo(self, repo_id: str, files: Mapping[str, bytes] | None = None, **flags: bool) -> Repo:
        """Add a repository; flags: `private`, `gated` (the token opens both)."""
        repo = self.repos[repo_id] = Repo(repo_id, **flags)
        if files:
            repo.commit(files)
        return repo

    def add_folder(self, repo_id: str, folder: Path, **flags: bool) -> Repo:
        """Add a repository with the files of a local folder."""
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return self.add_repo(repo_id, files, **flags)

    def files(self, repo_id: str, revision: str = "main") -> Files:
        """The files of a repository at a revision."""
        repo = self.repos[repo_id]
        return repo.commits[repo.resolve(revision) or ""]

    def fault(self, pattern: str, times: int = 10**9, **what: Any) -> Fault:
        """Misbehave from now on; see `Fault`."""
        self.faults.append(Fault(pattern, times, **what))
        return self.faults[-1]

    def fault_for(self, request: str) -> Fault | None:
        """The fault that befalls a request."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None

    def etag(self, path: str, data: bytes) -> str:
        """What the Hub names a file's content by."""
        if path.endswith(self.lfs_suffixes):
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class HubError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, code: str | None, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}


ROUTES: list[tuple[str, str, Callable[..., None]]] = []
REPO = r"(?P<repo>[^/]+/[^/]+)"
REVISION = r"(?P<revision>[^/]+)"


def route(methods: str, pattern: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a method of Handler for the URL paths that match; the pattern's groups become arguments."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        ROUTES.append((methods, pattern, function))
        return function

    return register


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def setup(self) -> None:
        super().setup()
        self.hub.connections.add(self.connection)

    def finish(self) -> None:
        self.hub.connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *values: object) -> None:
        """Keep quiet; `FakeHub.requests` is the log."""

    def dispatch(self) -> None:
        """Find the route and call it, unless a fault comes between."""
        url = urlsplit(self.path)
        request = f"{self.command} {url.path}"
        self.hub.requests.append(request)
        self.content = self.read_content()
        self.query = parse_qs(url.query)
        self.fault = self.hub.fault_for(request)
        try:
            if self.fault is not None and self.fault.delay:
                self.hub.stopped.wait(self.fault.delay)
            if self.fault is not None and self.fault.drop:
                return self.hang_up()
            if self.fault is not None and self.fault.status:
                raise HubError(self.fault.status, None, self.fault.message, self.fault.headers)
            with self.hub.lock:
                for methods, pattern, function in ROUTES:
                    match = re.fullmatch(pattern, url.path)
                    if match and self.command in methods.split("|"):
                        return function(
                            self, **{name: unquote(text) for name, text in match.groupdict().items() if text}
                        )
            raise HubError(404, None, f"fake hub: no route for {request}")
        except HubError as error:
            self.answer({"error": str(error)}, error.status, error.headers)
        except ConnectionError:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = dispatch

    def hang_up(self) -> None:
        """Break the connection, as a network does: not closed but reset, unless it shall be gentle."""
        self.wfile.flush()
        self.close_connection = True
        if self.fault is None or not self.fault.gently:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def read_content(self) -> bytes:
        """The body of the request."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def answer(
        self,
        content: bytes | dict[str, Any] | list[Any],
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> None:
        """Send the answer; to HEAD without its body."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        fault = self.fault if self.command == "GET" else None
        if fault is not None and fault.content is not None:
            data = fault.content(data)
        self.send_response(status)
        for name, text in {"Content-Type": content_type, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if fault is not None and fault.cut is not None:
            self.wfile.write(data[: fault.cut])
            return self.hang_up()
        if self.command != "HEAD":
            self.wfile.write(data)

    # ----------------------------------------------------------------------------------------------------------- access

    @property
    def authorised(self) -> bool:
        """Whether the request carries the token."""
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def need_token(self) -> None:
        """Refuse without the token, and with another one."""
        if not self.authorised:
            raise HubError(401, None, "Invalid credentials in Authorization header")

    def find(self, repo: str, revision: str | None = None) -> tuple[Repo, str]:
        """Repository and sha of a revision; like the real Hub's, a private one looks as if it did not exist."""
        if "Authorization" in self.headers:
            self.need_token()
        found = self.hub.repos.get(repo)
        if found is None or (found.private and not self.authorised):
            raise HubError(404 if self.authorised else 401, "RepoNotFound", "Repository not found")
        sha = found.resolve(revision or "main")
        if sha is None:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found, sha

    def refuse_if_gated(self, repo: Repo) -> None:
        """Content of a gated repository needs the token."""
        if repo.gated and not self.authorised:
            raise HubError(403, "GatedRepo", f"Access to model {repo.id} is restricted. You must be authenticated.")

    # ---------------------------------------------------------------------------------------------------------- reading

    @route("GET", r"/api/whoami-v2")
    def whoami(self) -> None:
        self.need_token()
        self.answer({"type": "user", "name": USER, "fullname": USER, "orgs": [], "auth": {"type": "access_token"}})

    @route("GET|HEAD", rf"/api/models/{REPO}(?:/revision/{REVISION})?")
    def repo_info(self, repo: str, revision: str | None = None) -> None:
        found, sha = self.find(repo, revision)
        facts = {"_id": "0", "id": found.id, "modelId": found.id, "sha": sha, "private": found.private, "tags": []}
        facts |= {"gated": "auto" if found.gated else False, "disabled": False, "downloads": 0, "likes": 0}
        facts |= {"author": repo.partition("/")[0], "createdAt": TIMESTAMP, "lastModified": TIMESTAMP}
        self.answer({**facts, "siblings": [{"rfilename": path} for path in sorted(found.commits[sha])]})

    def entry(self, path: str, data: bytes) -> dict[str, Any]:
        """A file in a listing."""
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        facts: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": blob}
        if path.endswith(self.hub.lfs_suffixes):
            facts["lfs"] = {"oid": self.hub.etag(path, data), "size": len(data), "pointerSize": 130}
        return facts

    @route("GET", rf"/api/models/{REPO}/tree/{REVISION}")
    def tree(self, repo: str, revision: str) -> None:
        found, sha = self.find(repo, revision)
        self.refuse_if_gated(found)
        self.answer([self.entry(path, data) for path, data in sorted(found.commits[sha].items())])

    @route("POST", rf"/api/models/{REPO}/paths-info/{REVISION}")
    def paths_info(self, repo: str, revision: str) -> None:
        found, sha = self.find(repo, revision)
        self.refuse_if_gated(found)
        text = self.content.decode()
        wanted = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text)["paths"]
        self.answer([self.entry(path, data) for path, data in found.commits[sha].items() if path in wanted])

    @route("GET|HEAD", rf"/{REPO}/resolve/{REVISION}/(?P<path>.+)")
    def resolve(self, repo: str, revision: str, path: str) -> None:
        found, sha = self.find(repo, revision)
        self.refuse_if_gated(found)
        data = found.commits[sha].get(path)
        if data is None:  # by the header the client remembers that the file does not exist at this commit
            raise HubError(404, "EntryNotFound", f"{path} does not exist", {"X-Repo-Commit": sha})
        headers = {"X-Repo-Commit": sha, "ETag": f'"{self.hub.etag(path, data)}"', "Accept-Ranges": "bytes"}
        wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and self.command == "GET":
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self.answer(data[start:], 206, headers, "application/octet-stream")
        self.answer(data, 200, headers, "application/octet-stream")

    # ---------------------------------------------------------------------------------------------------------- writing

    @route("POST", r"/api/repos/create")
    def create_repo(self) -> None:
        self.need_token()
        wanted = json.loads(self.content)
        repo_id = f"{wanted.get('organization') or USER}/{wanted['name']}"
        url = f"{self.hub.endpoint}/{repo_id}"
        if repo_id in self.hub.repos:
            return self.answer({"error": "You already created this model repo", "url": url}, 409)
        private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        self.hub.add_repo(repo_id, private=private)
        self.answer({"url": url, "name": repo_id, "id": repo_id})

    @route("POST", r"/api/validate-yaml")
    def validate_yaml(self) -> None:
        self.answer({"errors": [], "warnings": []})

    @route("POST", rf"/api/models/{REPO}/preupload/{REVISION}")
    def preupload(self, repo: str, revision: str) -> None:
        self.need_token()
        found, sha = self.find(repo, revision)
        modes = []
        for file in json.loads(self.content)["files"]:
            lfs = file["path"].endswith(self.hub.lfs_suffixes)
            old = found.commits[sha].get(file["path"])
            known = None if old is None else self.hub.etag(file["path"], old)
            entry = {"path": file["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
            modes.append({**entry, "oid": known})
        self.answer({"files": modes, "commitOid": sha})

    @route("POST", rf"/api/models/{REPO}/commit/{REVISION}")
    def commit(self, repo: str, revision: str) -> None:
        self.need_token()
        found, _ = self.find(repo, revision)
        files: Files = {}
        deleted: list[str] = []
        message = "commit"
        for line in filter(None, self.content.splitlines()):
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "header":
                    message = value["summary"]
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.lfs_objects[value["oid"]]
                case "deletedFile" | "deletedFolder":
                    deleted.append(value["path"])
                case other:
                    raise HubError(400, None, f"fake hub: no support for {other} in a commit")
        url = f"{self.hub.endpoint}/{found.id}"
        extra = {}
        if self.query.get("create_pr", ["0"])[0] in ("1", "true"):
            number = sum(name.startswith("refs/pr/") for name in found.refs) + 1
            revision = f"refs/pr/{number}"
            found.refs[revision] = found.head
            extra["pullRequestUrl"] = f"{url}/discussions/{number}"
        sha = found.commit(files, deleted, message, revision)
        self.answer({"success": True, "commitOid": sha, "commitUrl": f"{url}/commit/{sha}", "hookOutput": "", **extra})

    @route("POST", rf"/{REPO}\.git/info/lfs/objects/batch")
    def lfs_batch(self, repo: str) -> None:
        self.need_token()
        objects = []
        for wanted in json.loads(self.content)["objects"]:
            entry: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.lfs_objects:
                entry["actions"] = {"upload": {"href": f"{self.hub.endpoint}/lfs/{wanted['oid']}", "header": {}}}
            objects.append(entry)
        self.answer({"transfer": "basic", "objects": objects}, content_type="application/vnd.git-lfs+json")

    @route("PUT", r"/lfs/(?P<digest>[0-9a-f]{64})")
    def lfs_upload(self, digest: str) -> None:
        if hashlib.sha256(self.content).hexdigest() != digest:
            raise HubError(400, None, "The content does not have this sha256")
        self.hub.lfs_objects[digest] = self.content
        self.answer({})
