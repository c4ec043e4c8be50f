// Publishes one message once, however often it has to be sent.
//
//   mvn compile && java -cp … PublishGrpc HOST:PORT TOPIC ID PAYLOAD

import causeway.v1.GatewayGrpc;
import causeway.v1.GatewayOuterClass.Message;
import causeway.v1.GatewayOuterClass.PublishRequest;
import causeway.v1.GatewayOuterClass.Receipt;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

public class PublishGrpc {
    // For dedup.window (10 min) the gateway knows an id again.
    static final long GIVE_UP_AFTER_MS = Duration.ofMinutes(9).toMillis();
    static final long LONGEST_PAUSE_MS = 10_000;
    // Without a word from the gateway: whether it has the message is unknown.
    static final Set<Code> UNKNOWN =
            Set.of(Code.UNAVAILABLE, Code.UNKNOWN, Code.INTERNAL, Code.CANCELLED, Code.DEADLINE_EXCEEDED);

    /** What a refusal says for programs: google.rpc's ErrorInfo and RetryInfo. */
    record Refusal(String reason, long retryAfterMs, boolean again) {
        static Refusal of(StatusRuntimeException refused) {
            String reason = "";
            long retryAfterMs = -1;
            var status = StatusProto.fromThrowable(refused);
            try {
                for (var detail : status.getDetailsList()) {
                    if (detail.is(ErrorInfo.class)) {
                        reason = detail.unpack(ErrorInfo.class).getReason();
                    } else if (detail.is(RetryInfo.class)) {
                        var delay = detail.unpack(RetryInfo.class).getRetryDelay();
                        retryAfterMs = 1000 * delay.getSeconds() + delay.getNanos() / 1_000_000;
                    }
                }
            } catch (InvalidProtocolBufferException damaged) {
                // As if there were no details.
            }
            boolean again = retryAfterMs >= 0 || UNKNOWN.contains(refused.getStatus().getCode());
            return new Refusal(reason, Math.max(0, retryAfterMs), again);
        }
    }

    static Receipt publish(ManagedChannel channel, Message message) throws InterruptedException {
        var stub = GatewayGrpc.newBlockingStub(channel);
        var request = PublishRequest.newBuilder().setMessage(message).build();
        long end = System.currentTimeMillis() + GIVE_UP_AFTER_MS;
        for (long pause = 100; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
            try {
                // "duplicate": an earlier attempt had come through.
                return stub.withDeadlineAfter(60, TimeUnit.SECONDS).publish(request).getReceipt();
            } catch (StatusRuntimeException refused) {
                var refusal = Refusal.of(refused);
                switch (refusal.reason()) {
                    case "OUTCOME_PENDING" -> { // stored: it will be delivered
                        return Receipt.getDefaultInstance();
                    }
                    case "DEAD_LETTERED", "DISCARDED" ->
                        throw new IllegalStateException("held, not sent again: " + refused.getMessage());
                    default -> { }
                }
                if (!refusal.again()) {
                    throw new IllegalArgumentException("refused for good: " + refused.getMessage());
                }
                long wait = refusal.retryAfterMs() + ThreadLocalRandom.current().nextLong(pause);
                if (System.currentTimeMillis() + wait > end) {
                    throw new IllegalStateException("given up; whether it is stored is unknown");
                }
                System.err.println(refused.getMessage() + " " + refusal.reason() + ": again in " + wait + " ms");
                Thread.sleep(wait);
            }
        }
    }

    public static void main(String[] args) throws InterruptedException {
        var channel = ManagedChannelBuilder.forTarget(args[0]).usePlaintext().build();
        var message = Message.newBuilder().setTopic(args[1]).setId(args[2])
                .setContentType("application/json").setPayload(ByteString.copyFromUtf8(args[3]));
        try {
            System.out.println(publish(channel, message.build()));
        } finally {
            channel.shutdownNow();
        }
    }
}
