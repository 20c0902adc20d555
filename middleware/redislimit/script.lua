-- One call of a Counter: settlements first, then all charges or none of them.
--
-- KEYS: the epoch, the session of the process, and one key for each settlement
-- and each charge, in the order of the arguments.
-- ARGV: 1 number of the call, 2 highest number that was answered, 3 second of
-- that answer, 4 epoch that the process knows, 5 its order, 6 id for a
-- new epoch, 7 until when a Redis without an epoch is a new one, 8 number of
-- settlements, 9 number of charges. Then for each settlement: kind, at, end,
-- amount; for each charge: kind, start, end, max (-1 is none), amount.
--
-- Answer: {status, epoch, its order, second of Redis, second of the charges, index of
-- a full count or -1 or, without charges, -2, second of the reset}.

local most = 9007199254740991 -- up to here each whole number has a double
local slots = 1024            -- calls of a process that are remembered
local span = 60               -- seconds of a Minute, counted upwards

local clock = tonumber(redis.call('TIME')[1])
local second = clock -- the second of the Minutes; it does not go back by a little

local function whole(n) return string.format('%.0f', n) end

-- The epoch: an id, its order among the epochs (later is higher), the second
-- since when this Redis has counted, and whether counts were lost for sure.

local slot = tonumber(ARGV[1]) % slots
local acked = tonumber(ARGV[2])
local session = redis.call('HMGET', KEYS[2], slot, acked % slots)
local function number(record) return record and tonumber(string.match(record, '^%d+')) or 0 end

local known, order = ARGV[4], tonumber(ARGV[5])
local epoch, place, since, kind = string.match(redis.call('GET', KEYS[1]) or '', '^(%x+) (%d+) (%d+) (%l+)$')
place = tonumber(place or 0)

local lost
if not epoch then
	lost = known ~= ''
elseif known == epoch then
	-- What this process was told is written must be there.
	lost = acked > 0 and clock - tonumber(ARGV[3]) < 1800 and number(session[2]) < acked
elseif known ~= '' then
	-- Another process has seen a loss, or this is an older state of the data.
	lost = kind ~= 'lost' or place <= order
end
if lost or not epoch then
	epoch, place, since, kind = ARGV[6], math.max(clock, place + 1, order + 1), clock, lost and 'lost' or 'new'
	redis.call('SET', KEYS[1], table.concat({epoch, whole(place), whole(since), kind}, ' '))
end
since = tonumber(since) -- the counts until this second are unknown
if kind == 'new' and since < tonumber(ARGV[7]) then since = 0 end

-- A call is carried out once, however often it arrives.

local seen = number(session[1])
if seen == tonumber(ARGV[1]) then
	local full, reset, at = string.match(session[1], '^%d+ (%-?%d+) (%d+) (%d+)$')
	return {'ok', epoch, place, clock, tonumber(at), tonumber(full), tonumber(reset)}
elseif seen > tonumber(ARGV[1]) then
	return {'unknown', epoch, place, clock, 0, 0, 0}
end

-- The counts. A Minute is a hash: s is the sum, m the second of the last change,
-- and each second that is not over has a field. Others are plain numbers.

local counts = {}
local function load(key, kind)
	if counts[key] then return end
	local c = {key = key}
	if kind == 'm' then
		local v = redis.call('HMGET', key, 's', 'm')
		c.sum, c.last = tonumber(v[1] or 0), tonumber(v[2] or 0)
		if c.last > second and c.last <= clock + span then second = c.last end
	else
		local v = redis.call('GET', key)
		c.sum, c.found = tonumber(v or 0), v
	end
	counts[key] = c
end

local function keep(c)
	redis.call('HSET', c.key, 's', whole(c.sum), 'm', second)
	if c.last ~= second then redis.call('EXPIRE', c.key, 180) end
	c.last = second
end

-- What is over leaves a Minute.
local function advance(c)
	if c.last == second or c.last == 0 then return end
	if c.last > second then
		-- The clock went far back: all of it was just now.
		redis.call('DEL', c.key)
		if c.sum > 0 then redis.call('HSET', c.key, second, whole(c.sum)) end
	elseif second - c.last > span then
		redis.call('DEL', c.key)
		c.sum = 0
	else
		local over = {}
		for t = c.last - span, second - span - 1 do over[#over + 1] = t end
		for _, v in ipairs(redis.call('HMGET', c.key, unpack(over))) do
			if v then c.sum = c.sum - tonumber(v) end
		end
		redis.call('HDEL', c.key, unpack(over))
	end
	if c.sum > 0 then keep(c) else redis.call('DEL', c.key) c.last = 0 end
end

local function add(c, kind, at, stop, amount)
	if amount > most - c.sum then amount = most - c.sum end
	c.sum = c.sum + amount
	if kind == 'm' then
		redis.call('HINCRBY', c.key, at, whole(amount))
		keep(c)
	else
		redis.call('INCRBY', c.key, whole(amount))
		if not c.found then redis.call('EXPIREAT', c.key, stop + 3600) end
		c.found = true
	end
end

local function take(c, kind, at, amount)
	local there = c.sum
	if kind == 'm' then there = tonumber(redis.call('HGET', c.key, at) or 0) end
	if amount > there then amount = there end
	if amount <= 0 then return end
	c.sum = c.sum - amount
	if kind == 'm' then
		redis.call('HINCRBY', c.key, at, whole(-amount))
		keep(c)
	else
		redis.call('DECRBY', c.key, whole(amount))
	end
end

local settlements, charges = {}, {}
local a, k = 10, 3
for i = 1, tonumber(ARGV[8]) do
	settlements[i] = {key = KEYS[k], kind = ARGV[a], at = tonumber(ARGV[a + 1]), stop = tonumber(ARGV[a + 2]), amount = tonumber(ARGV[a + 3])}
	a, k = a + 4, k + 1
end
for i = 1, tonumber(ARGV[9]) do
	charges[i] = {key = KEYS[k], kind = ARGV[a], start = tonumber(ARGV[a + 1]), stop = tonumber(ARGV[a + 2]), max = tonumber(ARGV[a + 3]), amount = tonumber(ARGV[a + 4])}
	if charges[i].max < 0 then charges[i].max = math.huge end
	a, k = a + 5, k + 1
end
for _, s in ipairs(settlements) do load(s.key, s.kind) end
for _, c in ipairs(charges) do load(c.key, c.kind) end
for _, c in pairs(counts) do
	if c.last then advance(c) end
end

for _, s in ipairs(settlements) do
	local c = counts[s.key]
	if s.kind == 'm' then
		if s.amount > 0 and (s.at <= 0 or s.at > second) then s.at = second end
		s.present = s.at >= second - span
	else
		s.present = clock < s.stop
	end
	if s.present and s.amount > 0 then
		add(c, s.kind, s.at, s.stop, s.amount)
	elseif s.present then
		take(c, s.kind, s.at, -s.amount)
	end
end

-- The charges.

-- The record of a refusal that is an error has -3 in place of the index.
local function answer(status, full, reset)
	redis.call('HSET', KEYS[2], slot, ARGV[1] .. ' ' .. (status == 'ok' and full or -3) .. ' ' .. whole(reset) .. ' ' .. whole(second))
	redis.call('EXPIRE', KEYS[2], 3600)
	return {status, epoch, place, clock, second, full, reset}
end

if #charges == 0 then return answer('ok', -2, 0) end
for i, c in ipairs(charges) do
	if c.kind ~= 'm' and (clock < c.start - 10 or clock >= c.stop + 10) then return answer('clock', i - 1, 0) end
	if since > 0 then
		if c.kind == 'm' and second - span <= since then return answer('forgot', i - 1, since + span + 1) end
		if c.kind ~= 'm' and c.start <= since then return answer('forgot', i - 1, c.stop) end
	end
end

-- When a Minute has room for so much more than it has now.
local function opens(c, need)
	local seconds = {}
	for t = second - span, second do seconds[#seconds + 1] = t end
	for i, v in ipairs(redis.call('HMGET', c.key, unpack(seconds))) do
		if v then need = need - tonumber(v) end
		if need <= 0 then return seconds[i] + span + 1 end
	end
	return second + span + 1
end

for i, c in ipairs(charges) do
	local count = counts[c.key]
	local pending = count.pending or 0
	if c.amount > c.max - count.sum - pending then
		if c.kind == 'm' then return answer('ok', i - 1, opens(count, count.sum + pending + c.amount - c.max)) end
		return answer('ok', i - 1, c.stop)
	end
	count.pending = pending + c.amount
end
for _, c in ipairs(charges) do
	if c.amount > 0 then add(counts[c.key], c.kind, second, c.stop, c.amount) end
end
return answer('ok', -1, 0)
