# Plugins for LiteSpeed servers say in fields of their own whether a page is stored, for how long, and which cookies tell its visitors apart;
# a site may have this cache listen. Visitors see none of these fields. What needs more than a shared cache without ESI is not stored.

site
  [cache]
  profile = "lamp-safe"
  litespeed = true

# Guests share a page, whatever cookies they have that do not select; a session's cookie is one of those.
client sends GET /page
  Cookie: PHPSESSID=1
origin sees GET /page
  X-LSCACHE: on
origin answers 200
  Cache-Control: no-store, no-cache, must-revalidate
  X-LiteSpeed-Cache-Control: public,max-age=600
  X-LiteSpeed-Vary: cookie=currency
  X-LiteSpeed-Tag: abc_home
  Set-Cookie: seen=1
  | guests
client sees 200
  X-LiteSpeed-Cache-Control absent
  X-LiteSpeed-Vary absent
  X-LiteSpeed-Tag absent
  Cache-Control: no-store, no-cache, must-revalidate
  Cache-Status has stored

restart?

client sends GET /page
  Cookie: PHPSESSID=2; other=3
client sees 200
  Set-Cookie absent
  Cache-Status has hit
  | guests

# Who has a cookie that selects gets a page of his own kind, and those like him that one.
client sends GET /page
  Cookie: _lscache_vary=member; PHPSESSID=3
origin sees GET /page
origin answers 200
  X-LiteSpeed-Cache-Control: public,max-age=600
  X-LiteSpeed-Vary: cookie=currency
  X-LiteSpeed-Tag: abc_home
  | members
client sees 200
  | members
client sends GET /page
  Cookie: currency=usd
origin sees GET /page
origin answers 200
  X-LiteSpeed-Cache-Control: public,max-age=600
  X-LiteSpeed-Vary: cookie=currency
  X-LiteSpeed-Tag: abc_home
  | dollars
client sees 200
  | dollars

restart?

client sends GET /page
  Cookie: PHPSESSID=4; _lscache_vary=member
client sees 200
  Cache-Status has hit
  | members
client sends GET /page
client sees 200
  Cache-Status has hit
  | guests
client sends GET /page
  Cookie: currency=usd
client sees 200
  Cache-Status has hit
  | dollars

# One order of the side purges all of them.
client sends POST /save
  Content-Length: 0
origin sees POST /save
origin answers 200
  X-LiteSpeed-Purge: tag=abc_home
client sees 200
client sends GET /page
  Cookie: currency=usd
origin sees GET /page
origin answers 200
  X-LiteSpeed-Cache-Control: no-cache
client sees 200
  Cache-Status has detail=no-store

# A visitor's own store, markup that is not yet a page, and a choice that no cookie tells, are not kept here.
client sends GET /private
origin sees GET /private
origin answers 200
  X-LiteSpeed-Cache-Control: private,max-age=600
client sees 200
  Cache-Status has detail=private
client sends GET /esi
origin sees GET /esi
origin answers 200
  X-LiteSpeed-Cache-Control: public,max-age=600,esi=on
client sees 200
  Cache-Status has detail=no-store
client sends GET /mobile
origin sees GET /mobile
origin answers 200
  X-LiteSpeed-Cache-Control: public,max-age=600
  X-LiteSpeed-Vary: value=ismobile
client sees 200
  Cache-Status has detail=vary-star
