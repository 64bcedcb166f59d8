# A cookie that the site ignores neither makes a request personal nor selects: so the origin must not know it when its answer is for all.

site
  [cache]
  profile = "static"

client sends GET /page
  Cookie: session=alice
origin sees GET /page
  Cookie absent
origin answers 200
  | hello stranger
client sees 200
  | hello stranger

restart?

client sends GET /page
  Cookie: session=bob
client sees 200
  Cache-Status has hit
  | hello stranger

# What passes through keeps it.
client sends POST /page
  Cookie: session=bob
  | content
origin sees POST /page
  Cookie: session=bob
origin answers 200
client sees 200
