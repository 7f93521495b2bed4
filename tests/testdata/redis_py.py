"""redis-py's cluster client against a healthy cluster: HOST PORT PROTOCOL."""

import sys

from redis.cluster import RedisCluster

host, port, protocol = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = RedisCluster(host=host, port=port, protocol=protocol, decode_responses=True)
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
assert client.delete(*keys) == 300
assert client.info("server", target_nodes=client.get_random_node())["redis_mode"] == "cluster"
assert len(client.cluster_nodes()) == 6
assert client.cluster_keyslot("once") == client.keyslot("once")
assert client.flushall()
assert client.dbsize(target_nodes=primaries) == 0
print("done")
