-- The ledger in Redis: the operations of `budgets.Ledger`, shared by all servers.
--
-- `library.py` puts a head above this text that names the library and sets PREFIX, MAX_LINES, OTHERS, KEPT_AFTER_WINDOW,
-- KEPT_IDLE and KEPT_ID (times are microseconds).
--
-- Every function is called with one key, the mark of a tenant, "meshwalk:1:{tenant=…}:mark".  The other keys share its prefix,
-- and so its slot in a cluster.  Stored names say "held" and "holds" for reserved amounts and reservations:
--
--   …:mark             hash    epoch (drawn when the ledger was created), seq (the number of calls)
--   …:account:<name>   hash    spent, held, overrun, assumed (five whole numbers each), holds, kept (until when)
--   …:lines:<name>     hash    spend path → five whole numbers
--   …:index            zset    the names of accounts, by the time until which they are kept
--   …:holds            hash    id → need, spend path and the names of its accounts
--   …:leases           zset    the ids of reservations, by the end of their leases
--   …:known            zset    ids that were charged or have expired, by the time at which they are forgotten
--   …:caps             hash    kind:name → the operator's caps
--   …:claim:<key>      hash    owner, fingerprint, until, result
--
-- Numbers are doubles, whole and exact up to 2^53; the vault refuses larger ones.  Numbers are written by `whole` and
-- `words` only, because Redis itself would write 1e+15.

local PARTS = 5
local NOTHING = '0 0 0 0 0'
local HOUR = 3600000000
-- Bounds the ended leases that one call charges; the others still count as reserved, which is safe.
local AT_ONCE, ROUNDS = 100, 10

local function whole(number)
  return string.format('%d', number)
end

-- Decodes "1 2 - 4 5", where "-" stands for nothing.
local function numbers(words)
  local a, b, c, d, e = string.match(words, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  return { tonumber(a) or false, tonumber(b) or false, tonumber(c) or false, tonumber(d) or false, tonumber(e) or false }
end

local function words(list)
  return string.format('%d %d %d %d %d', list[1], list[2], list[3], list[4], list[5])
end

local function milliseconds(us)
  return whole(math.max(1, math.ceil(us / 1000)))
end

-- ---- accounts: read and written once per call -------------------------------------------------------------------------

local function account(ledger, name)
  local entry = ledger.accounts[name]
  if entry then
    return entry
  end
  local key = ledger.prefix .. 'account:' .. name
  local stored = redis.call('HMGET', key, 'spent', 'held', 'holds', 'kept')
  entry = {
    key = key,
    name = name,
    lines = ledger.prefix .. 'lines:' .. name,
    spent = numbers(stored[1] or NOTHING),
    reserved = numbers(stored[2] or NOTHING),
    spent_words = stored[1] or NOTHING,
    reserved_words = stored[2] or NOTHING,
    reservations = tonumber(stored[3] or 0),
    kept = tonumber(stored[4] or 0),
  }
  ledger.accounts[name] = entry
  return entry
end

-- Adds to `overrun` or `assumed`, which change seldom and are read and written only here.
local function add(entry, field, part, amount)
  if amount > 0 then
    local sums = numbers(redis.call('HGET', entry.key, field) or NOTHING)
    sums[part] = sums[part] + amount
    redis.call('HSET', entry.key, field, words(sums))
  end
end

-- Extends the retention of an account; an extension by less than an hour is not worth a write.
local function keep(entry, until_us)
  if until_us > entry.kept + (entry.kept > 0 and HOUR or 0) then
    entry.kept = until_us
    entry.renewed = true
  end
end

local function enter(ledger, entry, place, spent)
  local any = false
  for part = 1, PARTS do
    any = any or spent[part] > 0
  end
  if not any then
    return
  end
  local stored = redis.call('HGET', entry.lines, place)
  if not stored then
    local count = redis.call('HLEN', entry.lines)
    if count >= MAX_LINES then
      place = OTHERS
      stored = redis.call('HGET', entry.lines, place)
    end
    entry.renewed = entry.renewed or count == 0
  end
  local line = numbers(stored or NOTHING)
  for part = 1, PARTS do
    line[part] = line[part] + spent[part]
  end
  redis.call('HSET', entry.lines, place, words(line))
end

local function save(ledger)
  for _, entry in pairs(ledger.accounts) do
    if entry.changed then
      entry.spent_words, entry.reserved_words = words(entry.spent), words(entry.reserved)
      redis.call('HSET', entry.key, 'spent', entry.spent_words, 'held', entry.reserved_words, 'holds', whole(entry.reservations),
        'kept', whole(entry.kept))
    end
    if entry.renewed then
      local left = milliseconds(entry.kept - ledger.now)
      redis.call('PEXPIRE', entry.key, left)
      redis.call('PEXPIRE', entry.lines, left)
      redis.call('ZREMRANGEBYSCORE', ledger.prefix .. 'index', '-inf', whole(ledger.now))
      redis.call('ZADD', ledger.prefix .. 'index', whole(entry.kept), entry.name)
    end
  end
end

-- Appends the balance of each scope to an answer, after `save`.
local function balances(ledger, list, answer)
  for _, scope in ipairs(list) do
    local entry = account(ledger, scope.account)
    answer[#answer + 1] = entry.spent_words
    answer[#answer + 1] = entry.reserved_words
    answer[#answer + 1] = scope.operator_caps
  end
  return answer
end

-- ---- reservations -----------------------------------------------------------------------------------------------------

local function remember(ledger, id)
  redis.call('ZREMRANGEBYSCORE', ledger.prefix .. 'known', '-inf', whole(ledger.now))
  redis.call('ZADD', ledger.prefix .. 'known', whole(ledger.now + KEPT_ID), id)
end

-- Settles a reservation at `spent`, or at its need if that is nil; returns whether the reservation was open.
local function settle(ledger, id, spent, assumed)
  local packed = redis.call('HGET', ledger.prefix .. 'holds', id)
  redis.call('HDEL', ledger.prefix .. 'holds', id)
  redis.call('ZREM', ledger.prefix .. 'leases', id)
  if not packed then
    return false
  end
  local record = cmsgpack.unpack(packed)
  local need, place = numbers(record[1]), record[2]
  spent = spent or need
  local used = {}
  for part = 1, PARTS do
    used[part] = spent[part] or 0
  end
  for position = 3, #record do
    local entry = account(ledger, record[position])
    for part = 1, PARTS do
      local bound = need[part]
      -- A negative amount occurs only if the server has lost the account and kept the reservation.
      entry.reserved[part] = math.max(0, entry.reserved[part] - (bound or 0))
      entry.spent[part] = entry.spent[part] + used[part]
      add(entry, 'overrun', part, bound and used[part] - bound or 0)
      add(entry, 'assumed', part, assumed and used[part] or 0)
    end
    entry.reservations = math.max(0, entry.reservations - 1)
    entry.changed = true
    if entry.kept == 0 then
      keep(entry, ledger.now + (string.find(entry.name, ':-:0', -4, true) and KEPT_IDLE or HOUR))
    end
    enter(ledger, entry, place, used)
  end
  return true
end

local function expire(ledger)
  for _ = 1, ROUNDS do
    local ended = redis.call('ZRANGE', ledger.prefix .. 'leases', '-inf', whole(ledger.now), 'BYSCORE', 'LIMIT', 0, AT_ONCE)
    for _, id in ipairs(ended) do
      if settle(ledger, id, nil, true) then
        remember(ledger, id)
      end
    end
    if #ended < AT_ONCE then
      return
    end
  end
end

-- ---- a call -----------------------------------------------------------------------------------------------------------

-- Every call begins with the time ('' for the server's) and the epoch for a new ledger.
local function open(keys, args)
  local position = 0
  local function take()
    position = position + 1
    return args[position]
  end
  local now, candidate = tonumber(take()), take()
  if not now then
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  end
  local seq = redis.call('HINCRBY', keys[1], 'seq', 1)
  local epoch = redis.call('HGET', keys[1], 'epoch')
  if not epoch then
    epoch = candidate
    redis.call('HSET', keys[1], 'epoch', epoch)
  end
  local ledger = { prefix = string.sub(keys[1], 1, -5), now = now, accounts = {}, take = take }
  expire(ledger)
  return ledger, { epoch, whole(seq), whole(now) }
end

-- Decodes scopes: their number, then for each one kind:name, the length of its window or "-", and its caps.
local function scopes(ledger)
  local list, names = {}, {}
  for position = 1, tonumber(ledger.take()) do
    local name, window, caps = ledger.take(), ledger.take(), ledger.take()
    local length = tonumber(window)
    local begun = length and ledger.now - math.fmod(ledger.now, length) or 0
    names[position] = name
    list[position] = {
      account = name .. ':' .. window .. ':' .. whole(length and begun / length or 0),
      caps = numbers(caps),
      kept = length and begun + length + KEPT_AFTER_WINDOW or ledger.now + KEPT_IDLE,
    }
  end
  if #list == 0 then
    return list
  end
  for position, operator_caps in ipairs(redis.call('HMGET', ledger.prefix .. 'caps', unpack(names))) do
    list[position].operator_caps = operator_caps or ''
    for part, cap in ipairs(operator_caps and numbers(operator_caps) or {}) do
      list[position].caps[part] = cap or list[position].caps[part]
    end
  end
  return list
end

-- The rule of `budgets.judge`: '' if the need fits everywhere, else the scope, the part (both from 0) and the verdict.
local function judge(ledger, list, need)
  local contended = ''
  for position, scope in ipairs(list) do
    local entry = account(ledger, scope.account)
    for part = 1, PARTS do
      local cap, needed = scope.caps[part], need[part]
      if cap and (not needed or needed > 0 and entry.spent[part] + needed > cap) then
        return string.format('%d %d denied', position - 1, part - 1)
      elseif cap and needed > 0 and contended == '' and entry.spent[part] + entry.reserved[part] + needed > cap then
        contended = string.format('%d %d contended', position - 1, part - 1)
      end
    end
  end
  return contended
end

local function reserve(ledger)
  local id, lease, need_words, place = ledger.take(), tonumber(ledger.take()), ledger.take(), ledger.take()
  local list, need = scopes(ledger), numbers(need_words)
  if redis.call('HEXISTS', ledger.prefix .. 'holds', id) == 1 then
    return '', list
  end
  local verdict = judge(ledger, list, need)
  if verdict ~= '' then
    return verdict, list
  end
  local ends, record = ledger.now + lease, { need_words, place }
  for position, scope in ipairs(list) do
    local entry = account(ledger, scope.account)
    for part = 1, PARTS do
      entry.reserved[part] = entry.reserved[part] + (need[part] or 0)
    end
    entry.reservations = entry.reservations + 1
    entry.changed = true
    -- An account outlives its reservations by more than the hour that `keep` may skip.
    keep(entry, math.max(scope.kept, ends + 2 * HOUR))
    record[position + 2] = scope.account
  end
  redis.call('HSET', ledger.prefix .. 'holds', id, cmsgpack.pack(record))
  redis.call('ZADD', ledger.prefix .. 'leases', whole(ends), id)
  return '', list
end

-- ---- functions for the vault ------------------------------------------------------------------------------------------

local calls = {}

function calls.balances(keys, args)
  local ledger, answer = open(keys, args)
  save(ledger)
  return balances(ledger, scopes(ledger), answer)
end

-- Settles one reservation ('1', id, spent, '1' if assumed; '0' stands for none) and makes another (id, lease, need, spend path,
-- scopes).
function calls.exchange(keys, args)
  local ledger, answer = open(keys, args)
  if ledger.take() == '1' then
    local id, spent, assumed = ledger.take(), numbers(ledger.take()), ledger.take() == '1'
    settle(ledger, id, spent, assumed)
  end
  local verdict, list = reserve(ledger)
  save(ledger)
  answer[#answer + 1] = verdict
  return balances(ledger, list, answer)
end

-- Settles one reservation: id, spent, '1' if assumed.
function calls.settle(keys, args)
  local ledger, answer = open(keys, args)
  local id, spent, assumed = ledger.take(), numbers(ledger.take()), ledger.take() == '1'
  settle(ledger, id, spent, assumed)
  save(ledger)
  return answer
end

function calls.charge(keys, args)
  local ledger, answer = open(keys, args)
  local id, spent, assumed, place = ledger.take(), numbers(ledger.take()), ledger.take() == '1', ledger.take()
  local known = tonumber(redis.call('ZSCORE', ledger.prefix .. 'known', id) or 0) > ledger.now
  if settle(ledger, id, spent, assumed) then
    remember(ledger, id)
  elseif not known then
    for _, scope in ipairs(scopes(ledger)) do
      local entry = account(ledger, scope.account)
      for part = 1, PARTS do
        local cap = scope.caps[part]
        local room = cap and math.max(0, cap - entry.spent[part] - entry.reserved[part]) or spent[part]
        add(entry, 'overrun', part, spent[part] - room)
        add(entry, 'assumed', part, assumed and spent[part] or 0)
        entry.spent[part] = entry.spent[part] + spent[part]
      end
      entry.changed = true
      keep(entry, scope.kept)
      enter(ledger, entry, place, spent)
    end
    remember(ledger, id)
  end
  save(ledger)
  return answer
end

-- Answers with one page of matching accounts, and the cursor of the next one ('0' after the last).
function calls.reports(keys, args)
  local ledger, answer = open(keys, args)
  save(ledger)
  local cursor, pattern = ledger.take(), ledger.take()
  local page = redis.call('ZSCAN', ledger.prefix .. 'index', cursor, 'MATCH', pattern, 'COUNT', AT_ONCE)
  answer[#answer + 1] = page[1]
  for position = 1, #page[2], 2 do
    local entry = account(ledger, page[2][position])
    if entry.kept > 0 then
      local operator_caps = redis.call('HGET', ledger.prefix .. 'caps', string.match(entry.name, '^[^:]*:[^:]*'))
      local seldom = redis.call('HMGET', entry.key, 'overrun', 'assumed')
      answer[#answer + 1] = {
        entry.name, entry.spent_words, entry.reserved_words, seldom[1] or NOTHING, seldom[2] or NOTHING,
        whole(entry.reservations), operator_caps or '', redis.call('HGETALL', entry.lines),
      }
    end
  end
  return answer
end

function calls.set_caps(keys, args)
  local ledger, answer = open(keys, args)
  local name, caps = ledger.take(), ledger.take()
  if caps == '' then
    redis.call('HDEL', ledger.prefix .. 'caps', name)
  else
    redis.call('HSET', ledger.prefix .. 'caps', name, caps)
  end
  save(ledger)
  return answer
end

-- `until` ends a claim by the clock of the ledger; its key expires by the server's clock, one hour later.
function calls.claim(keys, args)
  local ledger, answer = open(keys, args)
  save(ledger)
  local key = ledger.prefix .. 'claim:' .. ledger.take()
  local owner, fingerprint, lease = ledger.take(), ledger.take(), tonumber(ledger.take())
  local stored = redis.call('HMGET', key, 'owner', 'fingerprint', 'result', 'until')
  if tonumber(stored[4] or 0) <= ledger.now then
    redis.call('DEL', key)
    redis.call('HSET', key, 'owner', owner, 'fingerprint', fingerprint, 'until', whole(ledger.now + lease))
    redis.call('PEXPIRE', key, milliseconds(lease + HOUR))
    stored = { owner, fingerprint, false }
  end
  for position = 1, 3 do
    answer[#answer + 1] = stored[position]
  end
  return answer
end

-- Answers with a claim that has not ended (owner, fingerprint, result), or with nothing; changes nothing.
function calls.read_claim(keys, args)
  local stored = redis.call('HMGET', string.sub(keys[1], 1, -5) .. 'claim:' .. args[2], 'owner', 'fingerprint', 'result', 'until')
  local now = tonumber(args[1])
  if not now then
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  end
  if tonumber(stored[4] or 0) <= now then
    return {}
  end
  return { stored[1], stored[2], stored[3] }
end

-- Returns the key of a claim that `owner` holds, or nothing.
local function held(ledger, name, owner)
  local key = ledger.prefix .. 'claim:' .. name
  local stored = redis.call('HMGET', key, 'owner', 'until')
  return stored[1] == owner and tonumber(stored[2] or 0) > ledger.now and key or nil
end

-- Stores a result: key, owner, how long it is kept, result.
function calls.finish(keys, args)
  local ledger, answer = open(keys, args)
  save(ledger)
  local name, owner, kept, result = ledger.take(), ledger.take(), tonumber(ledger.take()), ledger.take()
  local key = held(ledger, name, owner)
  if key then
    redis.call('HSET', key, 'result', result, 'until', whole(ledger.now + kept))
    redis.call('PEXPIRE', key, milliseconds(kept + HOUR))
  end
  return answer
end

-- Releases a key: key, owner.
function calls.release(keys, args)
  local ledger, answer = open(keys, args)
  save(ledger)
  local name, owner = ledger.take(), ledger.take()
  local key = held(ledger, name, owner)
  if key then
    redis.call('DEL', key)
  end
  return answer
end

-- A server at its memory limit refuses a function before it begins, unless the function says that it may write all the same.
-- Those do: what gives memory back, what records money that was spent, and what reads, which charges ended leases and so writes
-- a little.  New reservations, claims and results take memory, and wait until there is some.
local function register(name, ...)
  redis.register_function({ function_name = PREFIX .. name, callback = calls[name], flags = { ... } })
end

register('balances', 'allow-oom')
register('exchange')
register('settle', 'allow-oom')
register('charge', 'allow-oom')
register('reports', 'allow-oom')
register('set_caps', 'allow-oom')
register('claim')
register('read_claim', 'no-writes')
register('finish')
register('release', 'allow-oom')
