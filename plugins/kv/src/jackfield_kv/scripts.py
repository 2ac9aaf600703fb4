"""What is done in Redis, each as one step: scripts in Lua.

Under the store's prefix there are:

* `meta`, a hash: `revision` of the newest change, and `bytes` of all keys and values
* `keys`, a sorted set whose scores are all the same, which has the keys in the order of their bytes
* `values` and `versions`, hashes by key
* `expiries`, a sorted set of keys by the millisecond at which they expire
* `log`, a stream of the newest changes, whose ids are `<revision>-0`

A store begins to count at the time in milliseconds. So a Redis that has lost all it had gives no version a second time,
unless there were more than a thousand changes a second in all its life.
"""

from __future__ import annotations

from typing import Final

from jackfield_kv.store import OVERHEAD

NAMES: Final = ("meta", "keys", "values", "versions", "expiries", "log")
"""What the scripts are given as keys, behind the prefix."""

_COMMON: Final = """
local meta, keys, values, versions, expiries, log = unpack(KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HEXISTS', meta, 'revision') == 0 then
    redis.call('HSET', meta, 'revision', string.format('%.0f', now))
end

local function record(history, event, key, value, expires)
    local revision = string.format('%.0f', redis.call('HINCRBY', meta, 'revision', 1))
    redis.call('XADD', log, 'MAXLEN', '=', history, revision .. '-0',
        'key', key, 'event', event, 'value', value, 'expires', expires)
    return revision
end

local function size_of(key)
    local size = redis.call('HSTRLEN', values, key)
    return size > 0 and #key + size or 0
end

local function forget(key)
    redis.call('HINCRBY', meta, 'bytes', -size_of(key))
    redis.call('HDEL', values, key)
    redis.call('HDEL', versions, key)
    redis.call('ZREM', keys, key)
    redis.call('ZREM', expiries, key)
end

local function is_due(key)
    local expires = redis.call('ZSCORE', expiries, key)
    return expires and tonumber(expires) <= now
end

local function expire(history, key)
    if is_due(key) then
        forget(key)
        record(history, 'expire', key, '', '')
    end
end

local function entry(key, with_value)
    return {
        key,
        redis.call('HGET', versions, key),
        with_value and redis.call('HGET', values, key) or '',
        redis.call('ZSCORE', expiries, key) or '',
    }
end
"""

GET: Final = f"""{_COMMON}
local key = ARGV[1]
if redis.call('HEXISTS', versions, key) == 0 or is_due(key) then return false end
return entry(key, true)
"""
"""Takes a key; returns key, version, value, expiry."""

SET: Final = f"""{_COMMON}
local history, key, value, ttl, if_version, if_absent, most_keys, quota = unpack(ARGV)
expire(history, key)
local version = redis.call('HGET', versions, key)
if if_absent == '1' and version or if_version ~= '' and version ~= if_version then
    return {{'differs', version or ''}}
end
if not version and redis.call('ZCARD', keys) >= tonumber(most_keys) then return {{'keys'}} end
local grown = #key + #value - size_of(key)
local size = tonumber(redis.call('HGET', meta, 'bytes') or '0') + grown
if grown > 0 and size > tonumber(quota) then return {{'quota', string.format('%.0f', size)}} end
local expires = ttl ~= '' and string.format('%.0f', now + ttl) or ''
version = record(history, 'set', key, value, expires)
redis.call('HSET', meta, 'bytes', string.format('%.0f', size))
redis.call('HSET', values, key, value)
redis.call('HSET', versions, key, version)
redis.call('ZADD', keys, 0, key)
if ttl ~= '' then redis.call('ZADD', expiries, expires, key) else redis.call('ZREM', expiries, key) end
return {{'done', version}}
"""
"""Takes what an order has, with empty texts for none, and the bounds; returns how it went, and a version or a size."""

DELETE: Final = f"""{_COMMON}
local history, key, if_version = unpack(ARGV)
expire(history, key)
local version = redis.call('HGET', versions, key)
if not version then return {{'absent'}} end
if if_version ~= '' and version ~= if_version then return {{'differs', version}} end
forget(key)
return {{'done', record(history, 'delete', key, '', '')}}
"""
"""Takes a key and the version that it must have, or an empty text; returns how it went, and a revision or a version."""

PAGE: Final = f"""{_COMMON}
local low, high, limit, portion, with_values = unpack(ARGV)
local found = {{}}
local size = 0
local next = ''
for place, key in ipairs(redis.call('ZRANGEBYLEX', keys, low, high, 'LIMIT', 0, limit)) do
    if not is_due(key) then
        found[#found + 1] = entry(key, with_values == '1')
        size = size + #found[#found][3]
    end
    if place == tonumber(limit) or size >= tonumber(portion) then
        next = key
        break
    end
end
return {{redis.call('HGET', meta, 'revision'), next, found}}
"""
"""Takes the first and the last key, how many, and bytes; returns the revision, where there may be more, and entries."""

REVISION: Final = f"""{_COMMON}
return redis.call('HGET', meta, 'revision')
"""
"""Returns the revision of the newest change."""

CHANGES: Final = f"""{_COMMON}
local after, limit, portion = unpack(ARGV)
local revision = redis.call('HGET', meta, 'revision')
local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
local horizon = first and string.format('%.0f', string.match(first[1], '^%d+') - 1) or revision
local found = {{}}
if tonumber(horizon) <= tonumber(after) and tonumber(after) <= tonumber(revision) then
    local size = 0
    for _, change in ipairs(redis.call('XRANGE', log, '(' .. after .. '-0', '+', 'COUNT', limit)) do
        found[#found + 1] = change
        size = size + {OVERHEAD} + #change[2][2] + #change[2][6]
        if size >= tonumber(portion) then break end
    end
end
return {{revision, horizon, found}}
"""
"""Takes a revision, how many, and bytes; returns the newest and the last forgotten one, and entries of the log."""

SWEEP: Final = f"""{_COMMON}
local history, limit = unpack(ARGV)
local due = redis.call('ZRANGEBYSCORE', expiries, '-inf', string.format('%.0f', now), 'LIMIT', 0, limit)
for _, key in ipairs(due) do expire(history, key) end
return #due
"""
"""Takes how many; returns how many values have expired."""
