# The purge comes while the origin makes the answer: who asked before gets it, and it is not stored; who asks after does not wait for it.

client before sends GET /page
origin old sees GET /page
purge hard url /page
client after sends GET /page
origin new sees GET /page
origin new answers 200
  Cache-Control: max-age=600
  | new
client after sees 200
  Cache-Status lacks collapsed
  | new
origin old answers 200
  Cache-Control: max-age=600
  | old
client before sees 200
  | old

restart?

client sends GET /page
client sees 200
  Cache-Status has hit
  | new
