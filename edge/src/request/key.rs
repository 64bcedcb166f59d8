//! The name under which a response is stored: the target URI, normalised by the rules of the site.
