-- antivirus.lua - each message goes to clamd, and none goes on without its answer
--
-- Rspamd's own client of clamd (3.4, lua_scanners/clamav.lua) ends in a Lua error when clamd answers with ERROR (no memory,
-- time limit, stream limit), and the message is delivered as if it were clean.  Here only "stream: OK" is clean; whatever
-- else happens, a message without an answer is put off, or marked where it may pass.
--
-- Section mailnode_antivirus: socket, timeout (s), infected ("discard", "reject"), away ("soft reject", "pass").

local N = 'mailnode_antivirus'
local opts = rspamd_config:get_all_opt(N)

if not opts or not opts.socket then
  return
end

local logger = require 'rspamd_logger'
local lua_mime = require 'lua_mime'
local lua_util = require 'lua_util'
local tcp = require 'rspamd_tcp'
local util = require 'rspamd_util'

-- Above that of any filter that lets a message pass.
local PRIORITY = 10

local function refuse(task, action, message)
  task:set_pre_result{action = action, message = message, module = N, priority = PRIORITY}
end

local function take(task, reply)
  local virus = reply:match('^stream: (.+) FOUND$')

  if reply == 'stream: OK' then
    task:cache_set(N, true)
  elseif virus and virus:find('^Heuristics%.Limits%.Exceeded%.MaxScanTime') then
    logger.errx(task, 'clamd needs too long')
  elseif virus and virus:find('^Heuristics%.Limits%.Exceeded') then
    -- Packed within packed, or more than it says: clamd looked at a part of it.
    task:cache_set(N, true)
    task:insert_result('CLAM_VIRUS_LIMIT', 1.0, virus)
    refuse(task, 'reject', 'too much is packed in the message to scan it for viruses')
  elseif virus then
    task:cache_set(N, true)
    task:insert_result('CLAM_VIRUS', 1.0, virus)
    refuse(task, opts.infected, 'the message is infected')
  else
    logger.errx(task, 'clamd answers: %s', reply)
  end
end

local function scan(task)
  local content = task:get_content()
  local header = util.pack('c9 c1 >I4', 'zINSTREAM', '\0', #content)

  local sent = tcp.request{
    task = task,
    host = opts.socket,
    port = 0,
    timeout = opts.timeout,
    data = {header, content, util.pack('>I4', 0)},
    stop_pattern = '\0',
    callback = function(err, data)
      if err then
        logger.errx(task, 'clamd does not answer: %s', err)
      else
        take(task, tostring(data))
      end
    end,
  }
  if not sent then
    logger.errx(task, 'clamd cannot be asked')
  end
end

local function verdict(task)
  local marks = nil

  if not task:cache_get(N) then
    task:insert_result('CLAM_VIRUS_FAIL', 0.0)
    if opts.away == 'pass' then
      marks = {['X-Virus'] = 'not scanned'}
    elseif task:get_metric_action() ~= 'reject' then
      refuse(task, 'soft reject', 'the virus scanner is away, try again later')
    end
  end
  lua_mime.modify_headers(task, {add = marks, remove = {['X-Virus'] = 0}}, 'compat')
end

local id = rspamd_config:register_symbol{
  name = 'CLAM_VIRUS',
  type = 'normal',
  callback = scan,
  flags = 'ignore_passthrough,explicit_disable',
  augmentations = {string.format('timeout=%f', opts.timeout)},
  score = 0.0,
  group = 'antivirus',
}

rspamd_config:register_symbol{
  name = 'CLAM_VERDICT',
  type = 'postfilter',
  callback = verdict,
  flags = 'empty,ignore_passthrough,explicit_disable',
  priority = lua_util.symbols_priorities.top,
}
for _, name in ipairs{'CLAM_VIRUS_FAIL', 'CLAM_VIRUS_LIMIT'} do
  rspamd_config:register_symbol{name = name, type = 'virtual', parent = id, score = 0.0, group = 'antivirus'}
end
