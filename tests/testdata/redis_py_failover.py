"""redis-py's cluster client while nodes die and come back: HOST PORT PROTOCOL SECONDS."""

import sys
import time

from redis.backoff import ConstantBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisError
from redis.retry import Retry

host, port, protocol, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
retry = Retry(ConstantBackoff(0.1), 20)
client = RedisCluster(host=host, port=port, protocol=protocol, decode_responses=True, socket_timeout=5, retry=retry)
acknowledged = {}
errors, slowest = 0, 0.0
begin = time.monotonic()
while time.monotonic() - begin < seconds:
    key = f"failover:{protocol}:{len(acknowledged)}"
    asked = time.monotonic()
    # Setting a key again is harmless, so what failed may be repeated.
    while True:
        try:
            assert client.set(key, len(acknowledged)) is True
            break
        except RedisError:
            errors += 1
            assert time.monotonic() - asked < 20, "no write for 20 s"
            time.sleep(0.05)
    slowest = max(slowest, time.monotonic() - asked)
    acknowledged[key] = str(len(acknowledged))
for key, value in acknowledged.items():
    assert client.get(key) == value, key
print(f"{len(acknowledged)} writes, {errors} errors shown, the slowest took {slowest:.2f} s")
