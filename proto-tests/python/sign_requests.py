"""Signs requests with PyODPS's own signer.

Reads one JSON object a line from standard input: {"method", "endpoint", "target", "headers", "access_id", "access_key",
"region"}; `target` is what stands on the request line, behind the path of `endpoint`. Without a region the legacy signature is
made, else V4. Prints the value of the Authorization header as {"authorization"}, a line each.
"""

import json
import sys

import requests

from maxcompute import emit
from odps.accounts import CloudAccount


def main():
    for line in sys.stdin:
        asked = json.loads(line)
        request = requests.Request(asked["method"], asked["endpoint"] + asked["target"])
        request.headers = requests.structures.CaseInsensitiveDict(asked["headers"])
        account = CloudAccount(asked["access_id"], asked["access_key"])
        account.sign_request(request, asked["endpoint"], region_name=asked["region"])
        emit({"authorization": request.headers["Authorization"]})


main()
