// Publishes one message once, however often it has to be sent. Nothing beside Java (17 or newer).
//
//   java Publish.java URL TOPIC ID PAYLOAD

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

public class Publish {
    // For dedup.window (10 min) the gateway knows an id again.
    static final long GIVE_UP_AFTER_MS = Duration.ofMinutes(9).toMillis();
    static final long LONGEST_PAUSE_MS = 10_000;
    static final int NO_ANSWER = 0;
    static final Set<Integer> AGAIN = Set.of(NO_ANSWER, 408, 500, 502, 503);
    static final Set<String> HELD = Set.of("dead-lettered", "discarded");
    static final Pattern TYPE = Pattern.compile("\"type\":\"urn:causeway:problem:([a-z-]+)\"");

    record Answer(int status, String body, long retryAfterMs) {
        String kind() { // without a JSON library: the gateway writes it as the first member
            var found = TYPE.matcher(body);
            return found.find() ? found.group(1) : "";
        }
    }

    static final HttpClient CLIENT = HttpClient.newHttpClient();

    static Answer publish(String url, String topic, String id, String payload) throws InterruptedException {
        var path = Arrays.stream(topic.split("/", -1))
                .map(level -> URLEncoder.encode(level, StandardCharsets.UTF_8).replace("+", "%20"))
                .collect(Collectors.joining("/"));
        var request = HttpRequest.newBuilder(URI.create(url + "/v1/topics/" + path))
                .timeout(Duration.ofMinutes(1))
                .header("Idempotency-Key", id)
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(payload))
                .build();
        long end = System.currentTimeMillis() + GIVE_UP_AFTER_MS;
        for (long pause = 100; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
            var answer = attempt(request);
            int status = answer.status();
            if (status == 200 || status == 202 || answer.kind().equals("outcome-pending")) {
                return answer; // "duplicate":true: an earlier attempt had come through
            }
            if (HELD.contains(answer.kind())) throw new IllegalStateException("held, not sent again: " + answer);
            if (!AGAIN.contains(status)) throw new IllegalArgumentException("refused for good: " + answer);
            long wait = answer.retryAfterMs() + ThreadLocalRandom.current().nextLong(pause);
            if (System.currentTimeMillis() + wait > end) {
                throw new IllegalStateException("given up; whether it is stored is unknown");
            }
            System.err.println(status + " " + answer.kind() + ": again in " + wait + " ms");
            Thread.sleep(wait);
        }
    }

    static Answer attempt(HttpRequest request) throws InterruptedException {
        try {
            var response = CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
            long seconds = response.headers().firstValueAsLong("retry-after").orElse(0);
            return new Answer(response.statusCode(), response.body(), 1000 * seconds);
        } catch (IOException trouble) { // not connected, cut off, timed out
            return new Answer(NO_ANSWER, "", 0);
        }
    }

    public static void main(String[] args) throws InterruptedException {
        System.out.println(publish(args[0], args[1], args[2], args[3]).body());
    }
}
