"""Hold the .proto against every version of it in git's history: v1 only grows. `python -m scripts.breaking`."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from scripts.environments import ROOT
from scripts.imported_protos import copy_into

YARD: Final = Path("proto")
CONTRACT: Final = YARD / "pruning_proto" / "v1" / "pruning.proto"
IMPORTED: Final = Path(".cache") / "protos"
"""Where `buf.yaml` has what the contract imports."""

BUF: Final = Path(sys.executable).parent / "buf"


def main() -> int:
    """Return 0 if nothing that was ever committed breaks, 1 if something does. Says what was compared."""
    if _git("rev-parse", "--is-inside-work-tree") is None:
        print("buf breaking: no git history here, nothing to compare with")
        return 0
    if _git("rev-parse", "--is-shallow-repository") == "true":
        print("buf breaking: the clone is shallow, only the history that it has is compared")
    copy_into(ROOT / IMPORTED)
    versions = _committed_versions()
    if not versions:
        print(f"buf breaking: {CONTRACT} has no committed version yet, nothing to compare with")
    broken = [commit for commit in versions.values() if not _is_kept(commit)]
    if versions and not broken:
        print(f"buf breaking: the contract keeps what {len(versions)} committed version(s) promised")
    return 1 if broken else 0


def _committed_versions() -> dict[str, str]:
    """Return one commit for each different content of the .proto, by the content's hash."""
    commits = _git("log", "--format=%H", "HEAD", "--", str(CONTRACT)) or ""
    versions = {_git("rev-parse", "--verify", "--quiet", f"{commit}:{CONTRACT}"): commit for commit in commits.split()}
    return {blob: commit for blob, commit in versions.items() if blob}  # a commit may have removed the file


def _is_kept(commit: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder) / CONTRACT
        earlier.parent.mkdir(parents=True)
        earlier.write_text((_git("show", f"{commit}:{CONTRACT}") or "") + "\n")
        copy_into(Path(folder) / IMPORTED)
        (Path(folder) / "buf.yaml").write_bytes((ROOT / "buf.yaml").read_bytes())
        compared = subprocess.run([BUF, "breaking", "--against", folder], cwd=ROOT, check=False)
    if compared.returncode:
        print(f"buf breaking: the contract breaks a promise of commit {commit[:12]}, see above")
    return compared.returncode == 0


def _git(*arguments: str) -> str | None:
    """Return what git says; None if it fails."""
    command = ["git", "-c", "safe.directory=*", *arguments]  # a container may run as another user than cloned
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout.strip() if run.returncode == 0 else None


if __name__ == "__main__":
    raise SystemExit(main())
