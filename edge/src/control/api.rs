//! The admin API: routes, authorisation, problem details.
