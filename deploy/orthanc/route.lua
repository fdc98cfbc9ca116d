-- Send each chest radiograph that Orthanc stores to the COVID-XNet node, once, and never what came from the node.
-- README.md beside this file says how to set it up, and how retries work.

local NODE = os.getenv('ROUTE_TO') or 'COVIDXNET'  -- AE title of the node, and its name in DicomModalities
local MARK = '4242'           -- metadata of a routed instance: waiting, sent, refused or given up
local FIRST_WAIT = tonumber(os.getenv('ROUTE_RETRY_SECONDS')) or 30  -- after the first failure; doubles each time
local LONGEST_WAIT = 3600
local DAYS = 3                -- how long a failed instance is tried again

local RADIOGRAPHS = {
  ['1.2.840.10008.5.1.4.1.1.1'] = true,      -- Computed Radiography Image Storage
  ['1.2.840.10008.5.1.4.1.1.1.1'] = true,    -- Digital X-Ray Image Storage - For Presentation
}

local under_way = {}          -- job -> instance
local waiting = {}            -- instance -> since when, tries, and when again
local recalled = false        -- whether what waited before a restart of Orthanc is in `waiting` again

local function is_chest(tags)
  local part = string.upper(tags['BodyPartExamined'] or '')
  if part:match('%S') then return part:find('CHEST') or part:find('THORAX') or part:find('LUNG') end
  return true                 -- not told: the node's gate looks at more attributes than these
end

local function is_from_node(tags, origin)
  -- Results are SC and SR and so never wanted; this holds even if somebody converts one to CR.
  return origin['RemoteAet'] == NODE or tags['ManufacturerModelName'] == 'COVID-XNet node'
end

local function mark(instance, state)
  RestApiPut('/instances/' .. instance .. '/metadata/' .. MARK, state, false)
end

local function mark_of(instance)
  local all = RestApiGet('/instances/' .. instance .. '/metadata?expand', false)
  return all and ParseJson(all)[MARK]
end

local function try_later(instance, past)
  local tries = past.tries + 1
  if os.time() - past.since > DAYS * 86400 then
    mark(instance, 'given up')
    print('COVID-XNet: given up on instance ' .. instance)
    return
  end
  local wait = math.min(FIRST_WAIT * 2 ^ (tries - 1), LONGEST_WAIT)
  waiting[instance] = {since = past.since, tries = tries, next = os.time() + wait}
end

-- PS3.4 table B.2-1: 0xA9xx and 0xCxxx say that the node will never take it; 0xA7xx, that it may later.
local function is_refused(job)
  local details = string.upper(ParseJson(RestApiGet('/jobs/' .. job, false) or '{}')['ErrorDetails'] or '')
  return details:find('STATUS 0XA9%x%x') or details:find('STATUS 0XC%x%x%x')
end

local function send(instance, past)
  -- A job in the background: a slow or dead node must not hold up the PACS.
  local answer = RestApiPost('/modalities/' .. NODE .. '/store',
                             DumpJson({Resources = {instance}, Synchronous = false}, true), false)
  local job = answer and ParseJson(answer)['ID']
  if job then
    under_way[job] = {instance = instance, past = past}
  else
    try_later(instance, past)
  end
end

function OnStoredInstance(instance, tags, metadata, origin)
  if not RADIOGRAPHS[tags['SOPClassUID']] or not is_chest(tags) then return end
  if is_from_node(tags, origin) or mark_of(instance) then return end
  mark(instance, 'waiting')
  send(instance, {since = os.time(), tries = 0})
end

function OnJobSuccess(job)
  local sent = under_way[job]
  under_way[job] = nil
  if sent then mark(sent.instance, 'sent') end  -- not ours, or begun before a restart: sent again, which does no harm
end

function OnJobFailure(job)
  local sent = under_way[job]
  under_way[job] = nil
  if not sent then return end
  if is_refused(job) then
    mark(sent.instance, 'refused')
  else
    try_later(sent.instance, sent.past)
  end
end

local function recall()
  -- The state lies in the metadata: what Orthanc was to send when it stopped is found again.
  local since = os.date('%Y%m%d', os.time() - DAYS * 86400)
  local query = {Modality = 'CR\\DX', StudyDate = since .. '-'}
  local found = RestApiPost('/tools/find', DumpJson({Level = 'Instance', Query = query}, true), false)
  for _, instance in ipairs(found and ParseJson(found) or {}) do
    if mark_of(instance) == 'waiting' and not waiting[instance] then
      waiting[instance] = {since = os.time(), tries = 0, next = 0}
    end
  end
end

-- Orthanc calls it every LuaHeartBeatPeriod seconds (since 1.11.1); before, let a timer call it: see README.md.
function OnHeartBeat()
  if not recalled then
    recall()
    recalled = true
  end
  local now, due = os.time(), {}
  for instance, past in pairs(waiting) do
    if past.next <= now then due[instance] = past end
  end
  for instance, past in pairs(due) do
    waiting[instance] = nil
    if mark_of(instance) then send(instance, past) end  -- else it was deleted
  end
end
