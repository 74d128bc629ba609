-- Posts notifications that differ in the id and text of their one message, as wrk asks for them.
-- The ids are like WhatsApp's: a common beginning, then what looks like chance. Arguments are
-- NAME=VALUE: run (ids of two runs differ), secret (each is signed with it), rate (of all
-- connections together: each takes the next moment that is due), padding (bytes of text more),
-- marked (the id is told in a header, too).
local ffi = require("ffi")
ffi.cdef[[
const void *EVP_sha256(void);
unsigned char *HMAC(const void *method, const void *key, int key_length, const char *text,
                    size_t length, unsigned char *out, unsigned int *out_length);
typedef struct { long seconds; long nanos; } moment;
int clock_gettime(int clock, moment *now);
]]
local MONOTONIC = 1
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  threads[#threads + 1] = thread
end

function init(args)
  local chosen = {}
  for index = 1, #args do
    local name, value = args[index]:match("^(%w+)=(.*)$")
    chosen[name] = value
  end
  sent, late, due = 0, {}, nil
  state = 12345 + number
  for index = 1, #chosen.run do state = (state * 31 + chosen.run:byte(index)) % 2147483647 end
  secret, marked = chosen.secret, chosen.marked
  padding = string.rep("x", tonumber(chosen.padding or "0"))
  if chosen.rate then
    step = 1000 / tonumber(chosen.rate)
    delay = wait_for_turn  -- wrk asks for it only where there is one
  end
end

local function chance()
  state = state * 16807 % 2147483647
  return state
end

local moment = ffi.new("moment")
local function read_clock()  -- milliseconds
  ffi.C.clock_gettime(MONOTONIC, moment)
  return tonumber(moment.seconds) * 1000 + tonumber(moment.nanos) / 1000000
end

function wait_for_turn()
  local now = read_clock()
  due = (due or now) + step
  local behind = math.max(0, math.floor(now - due))
  late[behind] = (late[behind] or 0) + 1
  return math.max(0, math.floor(due - now + 0.5))
end

local digest, length = ffi.new("unsigned char[32]"), ffi.new("unsigned int[1]")
local hex = {}
for byte = 0, 255 do hex[byte] = string.format("%02x", byte) end
local function sign(body)
  ffi.C.HMAC(ffi.C.EVP_sha256(), secret, #secret, body, #body, digest, length)
  local digits = {}
  for index = 0, 31 do digits[index + 1] = hex[digest[index]] end
  return "sha256=" .. table.concat(digits)
end

function request()
  sent = sent + 1
  local id = string.format("wamid.HBgNNDkxNTUxMDAwMDAwFQIAEhgU%08X%08X%08X", chance(), chance(), sent)
  local customer = sent % 5000
  local body = string.format(
    '{"object":"whatsapp_business_account","entry":[{"id":"700100200300400","changes":[{"value":{' ..
    '"messaging_product":"whatsapp",' ..
    '"metadata":{"display_phone_number":"15550001122","phone_number_id":"550066007700880"},' ..
    '"contacts":[{"profile":{"name":"Customer %d"},"wa_id":"4915510%06d",' ..
    '"user_id":"DE.4915510%06d"}],' ..
    '"messages":[{"from":"4915510%06d","from_user_id":"DE.4915510%06d","id":"%s","timestamp":"1763800000","type":"text",' ..
    '"text":{"body":"Where is my order %d? It was to come yesterday, and I am at home all day.%s"}}]},' ..
    '"field":"messages"}]}]}',
    customer, customer, customer, customer, customer, id, sent, padding)
  local headers = {["Content-Type"] = "application/json"}
  if marked then headers["X-Id"] = id end
  if secret then headers["X-Hub-Signature-256"] = sign(body) end
  return wrk.format("POST", "/webhooks/wa", headers, body)
end

-- The milliseconds that 99 of 100 requests were not late by: a turn had come, but no connection.
local function find_late()
  local counts, total, most = {}, 0, 0
  for _, thread in ipairs(threads) do
    for behind, count in pairs(thread:get("late")) do
      counts[behind] = (counts[behind] or 0) + count
      total, most = total + count, math.max(most, behind)
    end
  end
  local seen = 0
  for behind = 0, most do
    seen = seen + (counts[behind] or 0)
    if seen >= total * 0.99 then return behind end
  end
  return 0
end

function done(summary, latency, requests)
  io.write(string.format(
    "RESULT %d %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99),
    -- not summary.errors.timeout: what takes two seconds is slow, which p99 shows, not wrong
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write,
    find_late()))
end
