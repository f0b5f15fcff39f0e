"""python3 -m hostile ATTACK JSON: one attack, in the namespace that this runs in. Its last line is what it saw."""

import asyncio
import json
import resource
import sys

from .attacks import ATTACKS, Facts


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    facts = Facts(json.loads(sys.argv[2]))
    result = asyncio.run(asyncio.wait_for(ATTACKS[sys.argv[1]](facts), 60))
    print(json.dumps(result), flush=True)


main()
