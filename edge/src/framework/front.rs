//! HTTP/1.1: reads heads, hands them to the guard and the story, writes answers, or lends the connection to Pingora for one request.
