-- Integers beyond what a double holds exactly: {high, low}, worth high * 10^9 + low, 0 <= low < 10^9.
local BASE = 1000000000
local ZERO = {0, 0}

local function whole(high, low)
  local carry = math.floor(low / BASE)
  return {high + carry, low - carry * BASE}
end

local function add(a, b)
  return whole(a[1] + b[1], a[2] + b[2])
end

local function minus(a, b)
  return whole(a[1] - b[1], a[2] - b[2])
end

local function less(a, b)
  if a[1] == b[1] then
    return a[2] < b[2]
  end
  return a[1] < b[1]
end

local function least(a, b)
  return less(a, b) and a or b
end

local function most(a, b)
  return less(a, b) and b or a
end

-- A small part of a number, rounded down.
local function share(a, parts)
  local high = math.floor(a[1] / parts)
  return whole(high, math.floor(((a[1] - high * parts) * BASE + a[2]) / parts))
end

local function number(digits)
  if not digits then
    return ZERO
  end
  local is_negative = string.sub(digits, 1, 1) == '-'
  if is_negative then
    digits = string.sub(digits, 2)
  end
  local high = tonumber(string.sub(digits, 1, -10)) or 0
  local low = tonumber(string.sub(digits, -9))
  if is_negative then
    return whole(-high, -low)
  end
  return {high, low}
end

local function text(a)
  if a[1] == 0 then
    return string.format('%d', a[2])
  end
  if a[1] < 0 then
    local b = minus(ZERO, a)
    return '-' .. (b[1] == 0 and string.format('%d', b[2]) or string.format('%d%09d', b[1], b[2]))
  end
  return string.format('%d%09d', a[1], a[2])
end
