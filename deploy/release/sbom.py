"""Takes out of a bill of materials what differs between two equal builds.

sbom.py IN OUT: the time becomes SOURCE_DATE_EPOCH, the hashes of the tool that
wrote it (which may have been built elsewhere) and its temporary paths go.
"""

import datetime
import json
import os
import sys


def main() -> None:
    source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as f:
        bom = json.load(f)
    if len(bom.get("components", [])) < 10:
        sys.exit(f"sbom.py: only {len(bom.get('components', []))} components: this is not the program's bill of materials")
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    metadata = bom["metadata"]
    metadata["timestamp"] = datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    tools = metadata.get("tools", [])
    for tool in tools["components"] if isinstance(tools, dict) else tools:
        tool.pop("hashes", None)
        tool.pop("version", None)
    with open(target, "w", encoding="utf-8") as f:
        json.dump(bom, f, indent=2, sort_keys=True)
        f.write("\n")


main()
