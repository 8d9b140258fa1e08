import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.HexFormat;

/**
 * Java's own HTTP client as it comes, which offers HTTP/2 with its first request: posts the bytes of the second
 * argument (in hex) twice to the first, and prints both answers in hex.
 */
public class JavaLogin {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        var request = HttpRequest.newBuilder(URI.create(arguments[0]))
                .header("Content-Type", "application/octet-stream")
                .POST(HttpRequest.BodyPublishers.ofByteArray(HexFormat.of().parseHex(arguments[1])))
                .build();
        for (int turn = 0; turn < 2; turn++) {
            var answer = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
            System.out.println(answer.statusCode() + " " + answer.version() + " " + HexFormat.of().formatHex(answer.body()));
        }
    }
}
