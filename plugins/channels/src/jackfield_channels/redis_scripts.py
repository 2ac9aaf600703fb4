"""What Redis does with channels, in Lua: each script is one step, which no other server comes between.

A channel is a hash, `meta`, with its `epoch` and its `top`, and a stream, `log`, of what is kept: its entries have the
offset as their id, the millisecond at which they expire, and the publication. What servers are told is parts, each
behind its length.
"""

from __future__ import annotations

from typing import Final

from jackfield_redis import Script

_COMMON: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function decimal(number)
    return string.format('%.0f', number)
end

local function part(text)
    return struct.pack('>I4c0', #text, text)
end

local function began(meta, log, epoch)
    redis.call('HSET', meta, 'epoch', epoch, 'top', '0')
    redis.call('DEL', log)
    return epoch, '0'
end
"""

_FLOOR: Final = """
-- The offset up to which nothing is kept. Offsets have no hole, so the newest that has expired is found by halves.
local function floor(log, top)
    local function expired(from)
        local entry = redis.call('XRANGE', log, from, '+', 'COUNT', 1)[1]
        return entry and tonumber(entry[2][2]) <= now, entry
    end
    local gone, oldest = expired('-')
    if not oldest then return tonumber(top) end
    local low, high = tonumber(string.match(oldest[1], '^%d+')), tonumber(top)
    if not gone then return low - 1 end
    while low < high do
        local middle = math.ceil((low + high) / 2)
        if expired(decimal(middle) .. '-0') then low = middle else high = middle - 1 end
    end
    redis.call('XTRIM', log, 'MINID', decimal(low + 1) .. '-0')
    return low
end

local function known(meta, log, epoch, remember)
    local found, top = unpack(redis.call('HMGET', meta, 'epoch', 'top'))
    if not found then found, top = began(meta, log, epoch) end
    if redis.call('PTTL', meta) < tonumber(remember) then redis.call('PEXPIRE', meta, remember) end
    return found, top
end
"""

APPEND: Final = Script(
    _COMMON
    + """
local dedup, new = ARGV[1], ARGV[2]
local positions, news = {}, {}
for place = 0, (#KEYS - 1) / 3 - 1 do
    local meta, log, id = unpack(KEYS, 3 * place + 2, 3 * place + 4)
    local channel, body, size, ttl, life, named = unpack(ARGV, 6 * place + 3, 6 * place + 8)
    local epoch, top = unpack(redis.call('HMGET', meta, 'epoch', 'top'))
    if not epoch then epoch, top = began(meta, log, new .. decimal(place)) end
    local before = named == '1' and redis.call('GET', id)
    if before and string.match(before, '^%S+') == epoch then
        top = string.match(before, '%d+$')
    else
        top = decimal(top + 1)
        if size ~= '0' then
            redis.call('XADD', log, 'MAXLEN', size, top .. '-0', 'expires', decimal(now + ttl), 'body', body)
            redis.call('PEXPIRE', log, ttl)
        end
        redis.call('HSET', meta, 'top', top)  -- now, so that what is refused has no offset
        redis.call('PEXPIRE', meta, life)
        if size == '0' then redis.call('DEL', log) end  -- or a full Redis lets the rest pass
        if named == '1' then redis.call('SET', id, epoch .. ' ' .. top, 'PX', dedup) end
        news[#news + 1] = part(channel) .. part(epoch) .. part(top) .. part(body)
    end
    positions[2 * place + 1], positions[2 * place + 2] = epoch, top
end
if #news > 0 then redis.call('PUBLISH', KEYS[1], table.concat(news)) end
return positions
"""
)
"""Publishes.

Keys: the topic of news, and for each publication the channel's meta and log, and the id's. Arguments: the milliseconds
that ids are known, and the beginning of new epochs; for each publication its channel, its body, how many are kept, for
how many milliseconds, how many the channel is known, and whether it has an id. Returns the epochs and offsets.
"""

LOOK: Final = Script(
    _COMMON
    + _FLOOR
    + """
local number, remember, new = ARGV[1], ARGV[2], ARGV[3]
local states = {part(number)}
for place = 0, (#KEYS - 1) / 2 - 1 do
    local meta, log = unpack(KEYS, 2 * place + 2, 2 * place + 3)
    local channel, had, offset = unpack(ARGV, 3 * place + 4, 3 * place + 6)
    local epoch, top = known(meta, log, new .. decimal(place), remember)
    if epoch == had and tonumber(top) < tonumber(offset) then
        epoch, top = began(meta, log, new .. decimal(place))
    end
    states[#states + 1] = part(channel) .. part(epoch) .. part(top) .. part(decimal(floor(log, top)))
end
redis.call('PUBLISH', KEYS[1], table.concat(states))
"""
)
"""Tells one server how far channels are, by the way that news takes, so that it has all news up to there already.

A channel that has less than the server has seen is an old copy, and begins anew. Keys: the server's own topic, and for
each channel its meta and log. Arguments: the number under which it is asked, the milliseconds that channels are known,
and the beginning of new epochs; for each channel its name, and the epoch and offset that the server has seen.
"""

READ: Final = Script(
    _COMMON
    + _FLOOR
    + """
local remember, new, first, count, size, back = unpack(ARGV)
local meta, log = unpack(KEYS)
local epoch, top = known(meta, log, new, remember)
local found = {epoch, top, decimal(floor(log, top))}
local bytes, at = 0, tonumber(first)
while at >= 0 and #found < 3 + 2 * count and bytes < tonumber(size) do
    local entry
    if back == '1' then
        entry = redis.call('XREVRANGE', log, decimal(at) .. '-0', '-', 'COUNT', 1)[1]
    else
        entry = redis.call('XRANGE', log, decimal(at) .. '-0', '+', 'COUNT', 1)[1]
    end
    if not entry then break end
    local offset, body = string.match(entry[1], '^%d+'), entry[2][4]
    found[#found + 1], found[#found + 2] = offset, body
    bytes = bytes + #body
    at = tonumber(offset) + (back == '1' and -1 or 1)
end
return found
"""
)
"""Reads the history of a channel.

Keys: its meta and log. Arguments: the milliseconds that it is known, a new epoch, the offset to begin with, how many,
how many bytes, and whether backwards. Returns the epoch, the top, the floor, and the offsets and bodies.
"""

PROVE: Final = Script("redis.call('SET', KEYS[1], '1', 'PX', '1')")
"""Writes what changes nothing. Keys: any that nobody uses."""

_LEFT: Final = """
local function left(members, topic, channel, client, most)
    local member = redis.call('HGET', members, client)
    if not member then return end
    redis.call('HDEL', members, client)
    if redis.call('HLEN', members) <= tonumber(most) then
        redis.call('PUBLISH', topic, part('leave') .. part(channel) .. part(client) .. part(member))
    end
end
"""

ENTER: Final = Script(
    _COMMON
    + """
local channel, client, most, member = unpack(ARGV)
local new = redis.call('HSET', KEYS[1], client, member)
redis.call('SADD', KEYS[2], part(channel) .. part(client))
if new == 1 and redis.call('HLEN', KEYS[1]) <= tonumber(most) then
    redis.call('PUBLISH', KEYS[3], part('join') .. part(channel) .. part(client) .. part(member))
end
"""
)
"""Lets a member be seen.

Keys: the channel's members, the places that the server's clients have, the topic of presence. Arguments: the channel,
the client, among how many members it is told, and the member.
"""

LEAVE: Final = Script(
    _COMMON
    + _LEFT
    + """
local channel, client, most = unpack(ARGV)
redis.call('SREM', KEYS[2], part(channel) .. part(client))
left(KEYS[1], KEYS[3], channel, client, most)
"""
)
"""Lets a member be seen no more. Keys and arguments: those of `ENTER`, without the member."""

BURY: Final = Script(
    _COMMON
    + _LEFT
    + """
local server, life, members, places, alive, most, count = unpack(ARGV)
redis.call('SET', alive .. server, '1', 'PX', life)
redis.call('SADD', KEYS[1], server)
local more = 0
for _, other in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    if redis.call('EXISTS', alive .. other) == 0 then
        for _, place in ipairs(redis.call('SPOP', places .. other, count)) do
            local size = struct.unpack('>I4', place)
            local channel = string.sub(place, 5, 4 + size)
            left(members .. channel, KEYS[2], channel, string.sub(place, 9 + size), most)
        end
        if redis.call('EXISTS', places .. other) == 0 then redis.call('SREM', KEYS[1], other) else more = 1 end
    end
end
return {redis.call('SCARD', places .. server), more}
"""
)
"""Says that a server is there, and takes away members of those that are not.

Keys: the set of servers, the topic of presence. Arguments: the server, for how many milliseconds it is there, what the
names begin with of members, of places, and of what says that a server is there, among how many members it is told, and
how many places are looked at. Returns how many places the server has itself, and whether there are more to look at.
"""
