# A Date in the future says nothing of age; one in the past does, even if only the origin's clock is slow (RFC 9111 §4.2.3). An Age that is
# no number counts as none.

client sends GET /future
origin sees GET /future
origin answers 200
  Date: {now+1h}
  Cache-Control: max-age=60
client sees 200
  Age: 0
client sends GET /past
origin sees GET /past
origin answers 200
  Date: {now-40s}
  Cache-Control: max-age=60
client sees 200
  Age: 40
client sends GET /both
origin sees GET /both
origin answers 200
  Date: {now-40s}
  Age: 30
  Cache-Control: max-age=60
client sees 200
  Age: 40
client sends GET /garbage
origin sees GET /garbage
origin answers 200
  Age: soon
  Cache-Control: max-age=60
client sees 200
  Age: 0

advance 15s
restart?

client sends GET /future
client sees 200
  Cache-Status has ttl=45
client sends GET /past
client sees 200
  Age: 55
  Cache-Status has ttl=5
client sends GET /both
client sees 200
  Age: 55
client sends GET /garbage
client sees 200
  Age: 15

advance 10s
client sends GET /past
origin sees GET /past
origin answers 200
client sees 200
