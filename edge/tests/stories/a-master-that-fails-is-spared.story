# A live master that fails is asked now and then, so that it is given time, and visitors need not wait for nothing. The others get
# what is stored, or are told at once.

client sends GET /stored
origin sees GET /stored
origin answers 200
  Cache-Control: max-age=60, stale-if-error=600
  | stored
client sees 200
advance 61s
restart?

# Five in a row.
client sends GET /1
origin sees GET /1
origin answers 503
client sees 503
client sends GET /2
origin sees GET /2
origin answers 502
client sees 502
client sends GET /3
origin sees GET /3
origin answers 504
client sees 504
client sends GET /4
origin sees GET /4
origin answers 503
client sees 503
client sends POST /5
origin sees POST /5
origin answers 503
client sees 503

client sends GET /6
client sees 503
  Retry-After: 5
  Cache-Status has detail=breaker
client sends POST /7
client sees 503
  Cache-Status has detail=breaker
client sends GET /stored
client sees 200
  Cache-Status has detail=breaker
  | stored
origin sees nothing

# One in a second is still sent. It was the only one.
advance 1s
client sends GET /8
origin sees GET /8
origin answers 200
  Cache-Control: no-store
  | better
client sees 200
client sends GET /9
client sees 503
  Cache-Status has detail=breaker
origin sees nothing

# What is stored is validated meanwhile, and nobody waits for that.
advance 1s
client sends GET /stored
client sees 200
  Cache-Status has detail=breaker
  | stored
origin sees GET /stored
origin answers 200
  Cache-Control: max-age=60
  | new
