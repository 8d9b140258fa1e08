import java.sql.DriverManager;
import java.util.Scanner;

/**
 * A JDBC client: runs each line of standard input, which may hold a token, as a statement, and prints what the
 * last one returns, a row on each line with tabs between the values.
 */
public class JdbcClient {
    public static void main(String[] arguments) throws Exception {
        try (var connection = DriverManager.getConnection("jdbc:duckdb:");
                var statement = connection.createStatement();
                var lines = new Scanner(System.in)) {
            var rows = new StringBuilder();
            while (lines.hasNextLine()) {
                rows.setLength(0);
                if (!statement.execute(lines.nextLine())) {
                    continue;
                }
                try (var result = statement.getResultSet()) {
                    var columns = result.getMetaData().getColumnCount();
                    while (result.next()) {
                        for (int column = 1; column <= columns; column++) {
                            rows.append(result.getString(column)).append(column < columns ? "\t" : "\n");
                        }
                    }
                }
            }
            System.out.print(rows);
        }
    }
}
