// Kafka's own producer: one record of each key that standard input has, a line each.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Keys {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        BufferedReader keys =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (String key = keys.readLine(); key != null; key = keys.readLine()) {
                byte[] bytes = key.getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>(args[1], bytes, bytes));
            }
        }
    }
}
