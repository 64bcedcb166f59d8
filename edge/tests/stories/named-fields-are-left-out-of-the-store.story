# private="…" and no-cache="…" are about the named fields alone: the first client gets them, the store does not (RFC 9111 §5.2.2.4, §5.2.2.7).

client sends GET /private
origin sees GET /private
origin answers 200
  Cache-Control: max-age=60, private="X-Mine, X-Also"
  X-Mine: 1
  X-Also: 1
  X-All: 1
  | hello
client sees 200
client sends GET /no-cache
origin sees GET /no-cache
origin answers 200
  Cache-Control: max-age=60, no-cache="x-mine"
  X-Mine: 1
  X-All: 1
client sees 200

restart?

client sends GET /private
client sees 200
  Cache-Status has hit
  X-Mine absent
  X-Also absent
  X-All: 1
  | hello
client sends GET /no-cache
client sees 200
  Cache-Status has hit
  X-Mine absent
  X-All: 1
