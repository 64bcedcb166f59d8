# A response that sets a cookie is not stored unless it says that it is for all, and then without the cookie: the default policy.

site
  [cache]
  profile = "static"

client sends GET /login
origin sees GET /login
origin answers 200
  Cache-Control: max-age=60
  Set-Cookie: session=1
  | for one
client sees 200
  Set-Cookie: session=1
  Cache-Status has detail=set-cookie

client sends GET /shared
origin sees GET /shared
origin answers 200
  Cache-Control: public, max-age=60
  Set-Cookie: session=1
  | for all
client sees 200

restart?

client sends GET /login
origin sees GET /login
origin answers 200
  Set-Cookie: session=2
  | for another
client sees 200
  Set-Cookie: session=2
  | for another

client sends GET /shared
client sees 200
  Cache-Status has hit
  Set-Cookie absent
  | for all
