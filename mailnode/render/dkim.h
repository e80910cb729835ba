/* dkim.h - the plugin of Rspamd that signs: the text of dkim.lua */
#pragma once

extern const char dkim_lua[];
