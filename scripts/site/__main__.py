"""Build the documentation site into `build/site`: `python -m scripts.site`."""

import subprocess
import sys

from scripts.site.build import BUILD, build

if __name__ == "__main__":
    try:
        print(f"the site is in {BUILD / 'html'}; open {build(BUILD)}")
    except subprocess.CalledProcessError as failed:
        sys.exit(f"docs: {failed.cmd[0]} failed, see above")
