#![doc = include_str!("testing_your_server.md")]
