//! The response that the client sees: Age, Via, Cache-Status, conditional and range answers.
