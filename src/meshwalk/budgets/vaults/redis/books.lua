-- The books of `budgets`, kept in Redis: what `budgets.Ledger` does, where all replicas can reach it.
--
-- `library.py` puts a head above this text that names the library and sets PREFIX, MOST_LINES, OTHERS, KEPT_AFTER_WINDOW,
-- KEPT_IDLE and KEPT_ID (times are microseconds).
--
-- Every function is called with one key, the mark of a tenant, "meshwalk:1:{tenant=…}:mark".  What else it touches has the same
-- beginning and so lies in the same slot of a cluster:
--
--   …:mark             hash    epoch (drawn when the books were begun), seq (one more with every call)
--   …:account:<name>   hash    spent, held, overrun, assumed (five whole numbers each), holds, kept (until when)
--   …:lines:<name>     hash    place → five whole numbers
--   …:index            zset    the names of accounts, by the time until which they are kept
--   …:holds            hash    id → need, place and the names of its accounts
--   …:leases           zset    the ids of holds, by the time their lease ends
--   …:known            zset    ids that were charged or have expired, by the time until which they are known
--   …:caps             hash    kind:name → what an operator set
--   …:claim:<key>      hash    owner, fingerprint, until, result
--
-- A number here is a double, whole and exact up to 2^53; the vault refuses larger ones.  Numbers are written by `whole` and
-- `words` only, because Redis itself would write 1e+15.

local PARTS = 5
local NOTHING = '0 0 0 0 0'
local HOUR = 3600000000
-- How many ended leases one call charges; those left over still count as held, which is the safe side.
local AT_ONCE, ROUNDS = 100, 10

local function whole(number)
  return string.format('%d', number)
end

-- Reads "1 2 - 4 5", where "-" is nothing.
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

-- ---- accounts: read once a call, written once a call -----------------------------------------------------------------

local function account(book, name)
  local found = book.accounts[name]
  if found then
    return found
  end
  local key = book.prefix .. 'account:' .. name
  local stored = redis.call('HMGET', key, 'spent', 'held', 'holds', 'kept')
  found = {
    key = key,
    name = name,
    lines = book.prefix .. 'lines:' .. name,
    spent = numbers(stored[1] or NOTHING),
    held = numbers(stored[2] or NOTHING),
    spent_words = stored[1] or NOTHING,
    held_words = stored[2] or NOTHING,
    holds = tonumber(stored[3] or 0),
    kept = tonumber(stored[4] or 0),
  }
  book.accounts[name] = found
  return found
end

-- What is seldom added to, `overrun` and `assumed`, is read and written only then.
local function add(found, field, part, amount)
  if amount > 0 then
    local sums = numbers(redis.call('HGET', found.key, field) or NOTHING)
    sums[part] = sums[part] + amount
    redis.call('HSET', found.key, field, words(sums))
  end
end

-- Keeps an account until then at least; putting it off by less than an hour is not worth a write.
local function keep(found, till)
  if till > found.kept + (found.kept > 0 and HOUR or 0) then
    found.kept = till
    found.renewed = true
  end
end

local function enter(book, found, place, spent)
  local any = false
  for part = 1, PARTS do
    any = any or spent[part] > 0
  end
  if not any then
    return
  end
  local stored = redis.call('HGET', found.lines, place)
  if not stored then
    local count = redis.call('HLEN', found.lines)
    if count >= MOST_LINES then
      place = OTHERS
      stored = redis.call('HGET', found.lines, place)
    end
    found.renewed = found.renewed or count == 0
  end
  local line = numbers(stored or NOTHING)
  for part = 1, PARTS do
    line[part] = line[part] + spent[part]
  end
  redis.call('HSET', found.lines, place, words(line))
end

local function save(book)
  for _, found in pairs(book.accounts) do
    if found.changed then
      found.spent_words, found.held_words = words(found.spent), words(found.held)
      redis.call('HSET', found.key, 'spent', found.spent_words, 'held', found.held_words, 'holds', whole(found.holds),
        'kept', whole(found.kept))
    end
    if found.renewed then
      local left = milliseconds(found.kept - book.now)
      redis.call('PEXPIRE', found.key, left)
      redis.call('PEXPIRE', found.lines, left)
      redis.call('ZREMRANGEBYSCORE', book.prefix .. 'index', '-inf', whole(book.now))
      redis.call('ZADD', book.prefix .. 'index', whole(found.kept), found.name)
    end
  end
end

-- Adds how each scope stands to an answer, after `save`.
local function standings(book, list, answer)
  for _, scope in ipairs(list) do
    local found = account(book, scope.account)
    answer[#answer + 1] = found.spent_words
    answer[#answer + 1] = found.held_words
    answer[#answer + 1] = scope.own
  end
  return answer
end

-- ---- holds -------------------------------------------------------------------------------------------------------------

local function remember(book, id)
  redis.call('ZREMRANGEBYSCORE', book.prefix .. 'known', '-inf', whole(book.now))
  redis.call('ZADD', book.prefix .. 'known', whole(book.now + KEPT_ID), id)
end

-- Replaces what is held by what was spent, or by what was held if nobody knows; tells whether anything was held.
local function settle(book, id, spent, assumed)
  local packed = redis.call('HGET', book.prefix .. 'holds', id)
  redis.call('HDEL', book.prefix .. 'holds', id)
  redis.call('ZREM', book.prefix .. 'leases', id)
  if not packed then
    return false
  end
  local held = cmsgpack.unpack(packed)
  local need, place = numbers(held[1]), held[2]
  spent = spent or need
  local used = {}
  for part = 1, PARTS do
    used[part] = spent[part] or 0
  end
  for position = 3, #held do
    local found = account(book, held[position])
    for part = 1, PARTS do
      local bound = need[part]
      -- Less than nothing is held only where the server has lost the account and kept the hold.
      found.held[part] = math.max(0, found.held[part] - (bound or 0))
      found.spent[part] = found.spent[part] + used[part]
      add(found, 'overrun', part, bound and used[part] - bound or 0)
      add(found, 'assumed', part, assumed and used[part] or 0)
    end
    found.holds = math.max(0, found.holds - 1)
    found.changed = true
    if found.kept == 0 then
      keep(found, book.now + (string.find(found.name, ':-:0', -4, true) and KEPT_IDLE or HOUR))
    end
    enter(book, found, place, used)
  end
  return true
end

local function expire(book)
  for _ = 1, ROUNDS do
    local ended = redis.call('ZRANGE', book.prefix .. 'leases', '-inf', whole(book.now), 'BYSCORE', 'LIMIT', 0, AT_ONCE)
    for _, id in ipairs(ended) do
      if settle(book, id, nil, true) then
        remember(book, id)
      end
    end
    if #ended < AT_ONCE then
      return
    end
  end
end

-- ---- a call ------------------------------------------------------------------------------------------------------------

-- Every call begins with the time ('' for the server's) and the epoch to begin new books with.
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
  local book = { prefix = string.sub(keys[1], 1, -5), now = now, accounts = {}, take = take }
  expire(book)
  return book, { epoch, whole(seq), whole(now) }
end

-- Reads scopes: how many, then of each kind:name, the length of its window or "-", and its caps.
local function scopes(book)
  local list, names = {}, {}
  for position = 1, tonumber(book.take()) do
    local name, window, caps = book.take(), book.take(), book.take()
    local length = tonumber(window)
    local begun = length and book.now - math.fmod(book.now, length) or 0
    names[position] = name
    list[position] = {
      account = name .. ':' .. window .. ':' .. whole(length and begun / length or 0),
      caps = numbers(caps),
      kept = length and begun + length + KEPT_AFTER_WINDOW or book.now + KEPT_IDLE,
    }
  end
  if #list == 0 then
    return list
  end
  for position, own in ipairs(redis.call('HMGET', book.prefix .. 'caps', unpack(names))) do
    list[position].own = own or ''
    for part, cap in ipairs(own and numbers(own) or {}) do
      list[position].caps[part] = cap or list[position].caps[part]
    end
  end
  return list
end

-- `budgets.judge`: nothing if the need fits everywhere, else the scope, the part (both from 0) and the verdict.
local function judge(book, list, need)
  local contended = ''
  for position, scope in ipairs(list) do
    local found = account(book, scope.account)
    for part = 1, PARTS do
      local cap, asked = scope.caps[part], need[part]
      if cap and (not asked or asked > 0 and found.spent[part] + asked > cap) then
        return string.format('%d %d denied', position - 1, part - 1)
      elseif cap and asked > 0 and contended == '' and found.spent[part] + found.held[part] + asked > cap then
        contended = string.format('%d %d contended', position - 1, part - 1)
      end
    end
  end
  return contended
end

local function hold(book)
  local id, lease, needed, place = book.take(), tonumber(book.take()), book.take(), book.take()
  local list, need = scopes(book), numbers(needed)
  if redis.call('HEXISTS', book.prefix .. 'holds', id) == 1 then
    return '', list
  end
  local verdict = judge(book, list, need)
  if verdict ~= '' then
    return verdict, list
  end
  local ends, record = book.now + lease, { needed, place }
  for position, scope in ipairs(list) do
    local found = account(book, scope.account)
    for part = 1, PARTS do
      found.held[part] = found.held[part] + (need[part] or 0)
    end
    found.holds = found.holds + 1
    found.changed = true
    -- An account outlives what is held in it, by more than the hour that `keep` may save itself.
    keep(found, math.max(scope.kept, ends + 2 * HOUR))
    record[position + 2] = scope.account
  end
  redis.call('HSET', book.prefix .. 'holds', id, cmsgpack.pack(record))
  redis.call('ZADD', book.prefix .. 'leases', whole(ends), id)
  return '', list
end

-- ---- what the vault calls ----------------------------------------------------------------------------------------------

local calls = {}

function calls.look(keys, args)
  local book, answer = open(keys, args)
  save(book)
  return standings(book, scopes(book), answer)
end

-- Settles one hold ('1', id, spent, '1' if assumed) and takes another ('1', id, lease, need, place, scopes); '0' is neither.
function calls.exchange(keys, args)
  local book, answer = open(keys, args)
  if book.take() == '1' then
    local id, spent, assumed = book.take(), numbers(book.take()), book.take() == '1'
    settle(book, id, spent, assumed)
  end
  if book.take() == '1' then
    local verdict, list = hold(book)
    save(book)
    answer[#answer + 1] = verdict
    return standings(book, list, answer)
  end
  save(book)
  return answer
end

function calls.charge(keys, args)
  local book, answer = open(keys, args)
  local id, spent, assumed, place = book.take(), numbers(book.take()), book.take() == '1', book.take()
  local known = tonumber(redis.call('ZSCORE', book.prefix .. 'known', id) or 0) > book.now
  if settle(book, id, spent, assumed) then
    remember(book, id)
  elseif not known then
    for _, scope in ipairs(scopes(book)) do
      local found = account(book, scope.account)
      for part = 1, PARTS do
        local cap = scope.caps[part]
        local room = cap and math.max(0, cap - found.spent[part] - found.held[part]) or spent[part]
        add(found, 'overrun', part, spent[part] - room)
        add(found, 'assumed', part, assumed and spent[part] or 0)
        found.spent[part] = found.spent[part] + spent[part]
      end
      found.changed = true
      keep(found, scope.kept)
      enter(book, found, place, spent)
    end
    remember(book, id)
  end
  save(book)
  return answer
end

-- Answers one page of accounts that match, and where the next one begins ('0' after the last).
function calls.statements(keys, args)
  local book, answer = open(keys, args)
  save(book)
  local cursor, pattern = book.take(), book.take()
  local page = redis.call('ZSCAN', book.prefix .. 'index', cursor, 'MATCH', pattern, 'COUNT', AT_ONCE)
  answer[#answer + 1] = page[1]
  for position = 1, #page[2], 2 do
    local found = account(book, page[2][position])
    if found.kept > 0 then
      local own = redis.call('HGET', book.prefix .. 'caps', string.match(found.name, '^[^:]*:[^:]*'))
      local seldom = redis.call('HMGET', found.key, 'overrun', 'assumed')
      answer[#answer + 1] = {
        found.name, found.spent_words, found.held_words, seldom[1] or NOTHING, seldom[2] or NOTHING,
        whole(found.holds), own or '', redis.call('HGETALL', found.lines),
      }
    end
  end
  return answer
end

function calls.set_caps(keys, args)
  local book, answer = open(keys, args)
  local name, caps = book.take(), book.take()
  if caps == '' then
    redis.call('HDEL', book.prefix .. 'caps', name)
  else
    redis.call('HSET', book.prefix .. 'caps', name, caps)
  end
  save(book)
  return answer
end

-- `until` says whether a claim holds, by the clock of the books; its key goes by the server's, and lives an hour longer.
function calls.claim(keys, args)
  local book, answer = open(keys, args)
  save(book)
  local key = book.prefix .. 'claim:' .. book.take()
  local owner, fingerprint, lease = book.take(), book.take(), tonumber(book.take())
  local stored = redis.call('HMGET', key, 'owner', 'fingerprint', 'result', 'until')
  if tonumber(stored[4] or 0) <= book.now then
    redis.call('DEL', key)
    redis.call('HSET', key, 'owner', owner, 'fingerprint', fingerprint, 'until', whole(book.now + lease))
    redis.call('PEXPIRE', key, milliseconds(lease + HOUR))
    stored = { owner, fingerprint, false }
  end
  for position = 1, 3 do
    answer[#answer + 1] = stored[position]
  end
  return answer
end

-- Leaves a result ('1', result), or gives the key free ('0', '').
function calls.finish(keys, args)
  local book, answer = open(keys, args)
  save(book)
  local key = book.prefix .. 'claim:' .. book.take()
  local owner, kept, given, result = book.take(), tonumber(book.take()), book.take() == '1', book.take()
  local stored = redis.call('HMGET', key, 'owner', 'until')
  if stored[1] ~= owner or tonumber(stored[2] or 0) <= book.now then
    return answer
  end
  if given then
    redis.call('HSET', key, 'result', result, 'until', whole(book.now + kept))
    redis.call('PEXPIRE', key, milliseconds(kept + HOUR))
  else
    redis.call('DEL', key)
  end
  return answer
end

redis.register_function(PREFIX .. 'look', calls.look)
redis.register_function(PREFIX .. 'exchange', calls.exchange)
redis.register_function(PREFIX .. 'charge', calls.charge)
redis.register_function(PREFIX .. 'statements', calls.statements)
redis.register_function(PREFIX .. 'set_caps', calls.set_caps)
redis.register_function(PREFIX .. 'claim', calls.claim)
redis.register_function(PREFIX .. 'finish', calls.finish)
