-- dkim.lua - what users of ours submit from domains of ours is signed, and nothing else (SPEC F-035 to F-041)
--
-- Rspamd's own dkim_signing (3.4) learns its selectors from a map that each worker reads again when it notices a change: a
-- message of a new domain that comes before that leaves unsigned, and with many domains each change has all of them read.
-- Here each message asks for the one file of its domain: FOLDER/example.org holds the selector in its first line and the
-- private key (PEM) behind it.  Whether it is there is whether the domain signs, from one message to the next.
--
-- Section mailnode_dkim: folder.

local N = 'mailnode_dkim'
local opts = rspamd_config:get_all_opt(N)

if not opts or not opts.folder then
  return
end

local logger = require 'rspamd_logger'

local ENOENT = 2
local FILE_MAX = 16384

-- The domain of the header From where there is exactly one with exactly one address, fit to be the name of a file: letters,
-- digits, '-' and '.', no '.' in front.
local function domain_of(task)
  local headers, from = task:get_header_full('From'), task:get_from('mime')

  if not headers or #headers ~= 1 or not from or #from ~= 1 or not from[1].domain then
    return nil
  end
  local domain = from[1].domain:lower()
  if #domain > 253 or not domain:find('^[a-z0-9][a-z0-9.-]*$') then
    return nil
  end
  return domain
end

-- A key of ours that cannot be used is a fault of ours: the message is put off.
local function put_off(task, domain, why)
  logger.errx(task, 'no DKIM signature for %s: %s', domain, why)
  task:set_pre_result{action = 'soft reject', message = 'the message cannot be signed now, try again later', module = N}
end

local function sign(task)
  local domain = task:get_user() and domain_of(task)
  if not domain then
    return
  end

  local file, why, number = io.open(opts.folder .. '/' .. domain)
  if not file then
    if number ~= ENOENT then
      put_off(task, domain, why)
    end
    return
  end
  local text = file:read(FILE_MAX) or ''
  file:close()

  local selector, key = text:match('^([%w.-]+)\n(.+)$')
  if not selector then
    put_off(task, domain, 'its file does not read')
  elseif rspamd_plugins.dkim.sign(task, {domain = domain, selector = selector, rawkey = key}) then
    task:insert_result('DKIM_SIGNED', 1.0, string.format('%s:s=%s', domain, selector))
  else
    put_off(task, domain, 'its key does not sign')
  end
end

rspamd_config:register_symbol{
  name = 'DKIM_SIGNED',
  type = 'normal',
  callback = sign,
  flags = 'ignore_passthrough,explicit_disable',
  score = 0.0,
  group = 'dkim',
}
rspamd_config:register_dependency('DKIM_SIGNED', 'DKIM_CHECK')
