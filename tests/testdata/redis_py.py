"""redis-py's cluster client against a healthy cluster: HOST PORT PROTOCOL."""

import sys
import time

from redis.cluster import RedisCluster

host, port, protocol = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
# A core that leads nothing has no slots, and the client does not hear of it. On a busy machine some leaders are elected where they
# should not stay, and move within seconds.
until = time.monotonic() + 30
while True:
    client = RedisCluster(host=host, port=port, protocol=protocol, decode_responses=True)
    if len(client.get_primaries()) == 6 or time.monotonic() > until:
        break
    client.close()
    time.sleep(0.2)
assert len(client.get_primaries()) == 6, client.get_primaries()
assert client.get_replicas() == []
client.flushall()
assert client.ping()

for key in range(300):
    assert client.set(f"py:{key}", key) is True
for key in range(300):
    assert client.get(f"py:{key}") == str(key)
    assert client.incr(f"py:{key}", 7) == key + 7
assert client.get("absent") is None
keys = [f"py:{key}" for key in range(300)]
assert client.mget_nonatomic(keys) == [str(key + 7) for key in range(300)]
assert client.mset_nonatomic({key: "x" for key in keys})
# Without this it asks one primary of its choice.
primaries = RedisCluster.PRIMARIES
assert client.dbsize(target_nodes=primaries) == 300
assert client.exists(*keys) == 300

pipe = client.pipeline()
for key in range(300):
    pipe.set(f"py:{key}", key)
    pipe.incr(f"py:{key}")
    pipe.get(f"py:{key}")
replies = pipe.execute()
for key in range(300):
    assert replies[3 * key : 3 * key + 3] == [True, key + 1, str(key + 1)], (key, replies[3 * key : 3 * key + 3])

assert client.set("once", "first", nx=True) is True
assert client.set("once", "second", nx=True) is None
assert client.set("once", "third", xx=True, get=True) == "first"
assert client.append("once", "!") == 6
assert client.getrange("once", 0, 4) == "third"
assert client.mset({"{tag}a": 1, "{tag}b": 2})
assert client.mget("{tag}a", "{tag}b") == ["1", "2"]
assert client.incrbyfloat("float", 1.5) == 1.5
assert sorted(client.scan_iter(match="py:*", count=50)) == sorted(keys)
assert sorted(client.keys("py:29?", target_nodes=primaries)) == [f"py:29{digit}" for digit in range(10)]
assert client.randomkey(target_nodes=client.get_node_from_key(keys[0]))
assert client.expire(keys[0], 100) and 99 <= client.ttl(keys[0]) <= 100
assert client.expire(keys[0], 50, gt=True) == 0
assert client.persist(keys[0]) and client.ttl(keys[0]) == -1
assert client.set("brief", 1, px=60) and client.pttl("brief") <= 60
assert client.getex("brief", ex=100) == "1" and client.ttl("brief") > 90
assert client.setex("brief", 1, "x") and client.pexpireat("brief", 1) and client.get("brief") is None
assert client.set("brief", "x", px=30)
time.sleep(0.05)
assert client.get("brief") is None and client.ttl("brief") == -2
assert client.rename("{tag}a", "{tag}c") and client.copy("{tag}c", "{tag}a") and client.get("{tag}a") == "1"
assert client.object("encoding", "{tag}a") == "int" and client.memory_usage("{tag}a") > 0
assert client.delete(*keys) == 300
assert client.info("server", target_nodes=client.get_random_node())["redis_mode"] == "cluster"
assert len(client.cluster_nodes()) == 6
assert client.cluster_keyslot("once") == client.keyslot("once")
assert client.flushall()
assert client.dbsize(target_nodes=primaries) == 0
print("done")
