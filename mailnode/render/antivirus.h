/* antivirus.h - the plugin of Rspamd that asks clamd: the text of antivirus.lua */
#pragma once

extern const char antivirus_lua[];
