//! Which command is wanted, and of what.

use crate::brokers::Order;
use crate::process::Failure;
use crate::tools::{self, Kit};
use causeway_brokers::shared::{self, Name};

#[derive(Debug, PartialEq)]
pub enum Task {
    Test { filter: Option<String> },
    Tools { kits: Vec<Kit> },
    Brokers { order: Order, names: Vec<Name> },
    Lint,
    Proto,
    Torture { seed: Option<u64>, minutes: u64 },
    ShownBy,
    Freeze { seconds: u64 },
    Bench { args: Vec<String> },
}

pub fn parse(args: &[String]) -> Result<Task, Failure> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["test"] => Ok(Task::Test { filter: None }),
        ["test", filter] => Ok(Task::Test {
            filter: Some((*filter).to_owned()),
        }),
        ["tools", names @ ..] => parse_tools(names),
        ["brokers", order, words @ ..] => parse_brokers(order, words),
        ["lint"] => Ok(Task::Lint),
        ["proto"] => Ok(Task::Proto),
        ["torture", "--shown-by"] => Ok(Task::ShownBy),
        ["torture", "--freeze", seconds] => parse_freeze(seconds),
        ["torture", options @ ..] => parse_torture(options),
        ["bench", args @ ..] if args.len() <= 2 => Ok(Task::Bench {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        }),
        [] => Err(Failure::Usage("which command?".to_owned())),
        _ => Err(Failure::Usage(format!(
            "not understood: {}",
            args.join(" ")
        ))),
    }
}

fn parse_torture(options: &[&str]) -> Result<Task, Failure> {
    let (mut seed, mut minutes) = (None, 10);
    for pair in options.chunks(2) {
        let [name, value] = pair else {
            return Err(Failure::Usage(format!("{} needs a number", pair[0])));
        };
        let number: u64 = value
            .parse()
            .map_err(|_| Failure::Usage(format!("{name} needs a number")))?;
        match *name {
            "--seed" => seed = Some(number),
            "--minutes" => minutes = number,
            _ => return Err(Failure::Usage(format!("torture has no option {name}"))),
        }
    }
    Ok(Task::Torture { seed, minutes })
}

fn parse_freeze(seconds: &str) -> Result<Task, Failure> {
    let seconds = seconds.parse();
    let seconds = seconds.map_err(|_| Failure::Usage("--freeze needs a number".to_owned()))?;
    Ok(Task::Freeze { seconds })
}

fn parse_tools(names: &[&str]) -> Result<Task, Failure> {
    let kit = |name: &&str| {
        let kit = tools::ALL.into_iter().find(|kit| kit.name() == *name);
        kit.ok_or_else(|| Failure::Usage(format!("no such tools: {name}")))
    };
    let kits = match names {
        [] => tools::ALL.to_vec(),
        names => names.iter().map(kit).collect::<Result<_, _>>()?,
    };
    Ok(Task::Tools { kits })
}

fn parse_brokers(order: &str, words: &[&str]) -> Result<Task, Failure> {
    let (options, names): (Vec<&str>, Vec<&str>) =
        words.iter().partition(|word| word.starts_with("--"));
    let order = match (order, options.as_slice()) {
        ("up", []) => Order::Up { docker: false },
        ("up", ["--docker"]) => Order::Up { docker: true },
        ("down", []) => Order::Down,
        ("status", []) => Order::Status { json: false },
        ("status", ["--json"]) => Order::Status { json: true },
        _ => {
            let said = options.join(" ");
            return Err(Failure::Usage(format!("not understood: {order} {said}")));
        }
    };
    let name = |word: &str| {
        let name = shared::ALL.into_iter().find(|name| name.word() == word);
        name.ok_or_else(|| Failure::Usage(format!("no such server: {word}")))
    };
    let names = names.into_iter().map(name).collect::<Result<_, _>>()?;
    Ok(Task::Brokers { order, names })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, Failure> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&args)
    }

    #[test]
    fn commands_are_read_as_the_usage_shows_them() {
        assert_eq!(parsed("test").unwrap(), Task::Test { filter: None });
        assert_eq!(
            parsed("test log::").unwrap(),
            Task::Test {
                filter: Some("log::".into())
            }
        );
        assert_eq!(
            parsed("tools").unwrap(),
            Task::Tools {
                kits: tools::ALL.to_vec()
            }
        );
        assert_eq!(
            parsed("tools go python").unwrap(),
            Task::Tools {
                kits: vec![Kit::Go, Kit::Python]
            }
        );
        let brokers = |order, names| Task::Brokers { order, names };
        let (up, json) = (Order::Up { docker: false }, Order::Status { json: true });
        let cases = [
            ("brokers up", brokers(up, vec![])),
            (
                "brokers up --docker kafka",
                brokers(Order::Up { docker: true }, vec![Name::Kafka]),
            ),
            (
                "brokers down kafka2",
                brokers(Order::Down, vec![Name::Kafka2]),
            ),
            (
                "brokers status rabbitmq --json",
                brokers(json, vec![Name::Rabbitmq]),
            ),
        ];
        for (line, task) in cases {
            assert_eq!(parsed(line).unwrap(), task, "{line}");
        }
        assert_eq!(parsed("lint").unwrap(), Task::Lint);
        assert_eq!(
            parsed("torture --minutes 3 --seed 7").unwrap(),
            Task::Torture {
                seed: Some(7),
                minutes: 3
            }
        );
        assert_eq!(
            parsed("torture").unwrap(),
            Task::Torture {
                seed: None,
                minutes: 10
            }
        );
        assert_eq!(parsed("proto").unwrap(), Task::Proto);
        assert_eq!(parsed("torture --shown-by").unwrap(), Task::ShownBy);
        let freeze = Task::Freeze { seconds: 600 };
        assert_eq!(parsed("torture --freeze 600").unwrap(), freeze);
        assert_eq!(
            parsed("bench rss").unwrap(),
            Task::Bench {
                args: vec!["rss".into()]
            }
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for line in [
            "",
            "tests",
            "test a b",
            "tools ruby",
            "brokers",
            "brokers start",
            "brokers up pulsar",
            "brokers down --docker",
            "torture --seed",
            "torture --seed x",
            "torture --x 1",
            "torture --freeze",
            "torture --freeze long",
        ] {
            assert!(matches!(parsed(line), Err(Failure::Usage(_))), "{line:?}");
        }
    }
}
