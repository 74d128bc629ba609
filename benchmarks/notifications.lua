-- Posts notifications that differ in the id and text of their one message, as wrk asks for them.
-- The ids are like WhatsApp's: a common beginning, then what looks like chance.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  sent = 0
  state = 12345 + number
  for index = 1, #args[1] do state = (state * 31 + args[1]:byte(index)) % 2147483647 end
end

local function chance()
  state = state * 16807 % 2147483647
  return state
end

function request()
  sent = sent + 1
  local id = string.format("wamid.HBgNNDkxNTUxMDAwMDAwFQIAEhgU%08X%08X%08X", chance(), chance(), sent)
  local body = string.format(
    '{"contacts":[{"profile":{"name":"Customer %d"},"wa_id":"4915510%06d"}],' ..
    '"messages":[{"from":"4915510%06d","id":"%s","timestamp":"1763800000","type":"text",' ..
    '"text":{"body":"Where is my order %d? It was to come yesterday, and I am at home all day."}}]}',
    sent % 5000, sent % 5000, sent % 5000, id, sent)
  return wrk.format("POST", "/webhooks/wa", {["Content-Type"] = "application/json"}, body)
end

function done(summary, latency, requests)
  io.write(string.format(
    "RESULT %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99),
    -- not summary.errors.timeout: what takes two seconds is slow, which p99 shows, not wrong
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write))
end
