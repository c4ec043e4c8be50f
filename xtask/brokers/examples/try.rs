use causeway_brokers::*;
use std::time::{Duration, Instant};
fn main() -> Result<(), Trouble> {
    let place = Place::of_workspace(std::path::Path::new("."));
    let t = Instant::now();
    let k = kafka::Dist::fetch(&place)?;
    println!("kafka fetched {:?}", t.elapsed());
    let t = Instant::now();
    let r = rabbitmq::Dist::fetch(&place)?;
    println!("rabbit fetched {:?}", t.elapsed());
    let tmp = std::env::temp_dir().join("brtry");
    let _ = std::fs::remove_dir_all(&tmp);
    let t = Instant::now();
    let mut kafka = kafka::Kafka::start_in(&tmp.join("k"), &k)?;
    println!("kafka up {:?} {:?}", t.elapsed(), kafka.ports());
    let t = Instant::now();
    let second = kafka.start_second_in(&tmp.join("k2"))?;
    println!("kafka2 up {:?}", t.elapsed());
    kafka.create_topic("two", 2, 2)?;
    println!(
        "{}",
        kafka.tool("TopicCommand", &["--describe", "--topic", "two"])?
    );
    drop(second);
    kafka.create_topic("t", 1, 1)?;
    kafka.create_topic("refused", 1, 1)?;
    kafka.refuse_writes("refused")?;
    std::env::var("HOLD")
        .is_ok()
        .then(|| std::thread::sleep(Duration::from_secs(60)));
    let t = Instant::now();
    let mut rabbit = rabbitmq::Rabbitmq::start_in(&tmp.join("r"), &r)?;
    println!("rabbit up {:?} {:?}", t.elapsed(), rabbit.ports());
    let t = Instant::now();
    println!("{:?} {:?}", rabbit.ctl(&["list_users"]), t.elapsed());
    println!("{:?}", rabbit.ctl(&["stop_app"]));
    println!("{:?}", rabbit.answers(ANSWER_LIMIT));
    println!("{:?}", rabbit.ctl(&["start_app"]));
    println!("{:?}", rabbit.answers(ANSWER_LIMIT));
    let t = Instant::now();
    println!("{:?} {:?}", rabbit.stop(), t.elapsed());
    let t = Instant::now();
    println!("{:?} {:?}", kafka.stop(), t.elapsed());
    let t = Instant::now();
    rabbit.start()?;
    kafka.start()?;
    println!("both again {:?}", t.elapsed());
    Ok(())
}
