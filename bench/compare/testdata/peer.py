import json
import sys

if sys.argv[1] == "broken":
    sys.exit(0)
print(json.dumps({"version": "1"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps({} if "case" in request else {"seconds": 0.25 * request["repeat"]}), flush=True)
