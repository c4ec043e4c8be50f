//! The one test binary: a module for each family of scenarios, `support` for what they share.

mod support;

mod bad_folder;
mod bad_topics;
mod brokers;
mod cli;
mod cli_bench;
mod cli_errors;
mod cli_json;
mod cli_manual;
mod cli_tap;
mod clients;
mod cloudevents;
mod config_bytes;
mod config_errors;
mod egress;
mod examples;
mod expression_fuzz;
mod fetched_tools;
mod grpc;
mod h2spec;
mod health;
mod http_batch;
mod http_events;
mod imports;
mod journal_format;
mod journal_repair;
mod kafka;
mod limits;
mod log_sim;
mod logs;
mod metrics;
mod openapi;
mod oracle;
#[cfg(feature = "otlp")]
mod otlp;
mod reload;
mod route_refusals;
mod routes_tour;
mod schema;
mod shown_by;
mod simulation;
mod tour;
mod traces;
