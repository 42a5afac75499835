/* What SQLite itself costs: the statements of the store, on the store's own tables, with nothing in between.
 *
 *   reference kept      one connection, prepared statements                               (b in the table)
 *   reference percall   a connection a call: open, PRAGMAs, prepare, step, close          (a)
 *
 * Commands come on standard input, a line each; each is answered by one line of JSON. Times are taken here, in ns.
 *
 *   open PATH SESSION                  work in this file, on this session
 *   chunk NAME CALLS [NUMBER]          {"ns": [...]}, one a call
 *   jobs PROCESSES COUNT BATCH         claim and complete COUNT jobs of type "render" that are there
 *   change WORKERS COUNT KIND          each reads, changes and writes COUNT times; KIND is processes or threads
 *   quit
 *
 * Names of chunks: append, append_open, append_many (NUMBER rows in one transaction), page, page_below (NUMBER is the
 * id), by_trigger, save (NUMBER bytes), load, messages, journal.
 */
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BEGIN, BEGIN_READ, COMMIT, APPEND, PAGE, PAGE_BELOW, BY_TRIGGER, SAVE, LOAD, MESSAGES, JOURNAL,
       CLAIM, COMPLETE, READ, CHANGE, STATEMENTS };

#define HISTORY "SELECT id, session_id, action, params, result, success, created_at FROM history WHERE session_id = ?1"

static const char *SQL[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [BEGIN_READ] = "BEGIN",
    [COMMIT] = "COMMIT",
    [APPEND] = "INSERT INTO history (session_id, action, params, result, success, created_at) VALUES (?, ?, ?, ?, 1, ?)",
    [PAGE] = HISTORY " ORDER BY id DESC LIMIT 50",
    [PAGE_BELOW] = HISTORY " AND id < ?2 ORDER BY id DESC LIMIT 50",
    [BY_TRIGGER] = "SELECT id, session_id, trigger_type, trigger_key, \"trigger\", action_type, action, priority, enabled,"
                   " one_shot, fired_count, last_fired_at, created_at FROM rules WHERE session_id = ? AND"
                   " trigger_type = 'beat' AND enabled = 1 ORDER BY priority, created_at, id",
    [SAVE] = "INSERT INTO snapshots (session_id, size_bytes, sha256, label, captured_at, state)"
             " VALUES (?, ?, ?, NULL, ?, ?)",
    [LOAD] = "SELECT id, session_id, size_bytes, sha256, label, captured_at, state FROM snapshots WHERE session_id = ?"
             " ORDER BY id DESC LIMIT 1",
    [MESSAGES] = "SELECT id, public_id, session_id, role, content, instance_id, created_at, import_id FROM messages"
                 " WHERE session_id = ? ORDER BY id LIMIT 50",
    [JOURNAL] = "SELECT id, event_uuid, source_session_id, event_type, timestamp, is_sidechain, parent_uuid, cwd,"
                " project_name, session_id, model, message_id, request_id, input_tokens, output_tokens,"
                " cache_read_input_tokens, cache_creation_input_tokens, import_id, data FROM journal_events"
                " WHERE session_id = ? ORDER BY id LIMIT 50",
    /* The table says that a job in work has a lease; nothing here looks at it. */
    [CLAIM] = "UPDATE jobs SET status = 'processing', ready = NULL, attempts = attempts + 1, started_at = ?1,"
              " updated_at = ?1, worker_id = 'c', lease_token = 'c', lease_expires_at = ?1 WHERE id IN (SELECT id FROM"
              " jobs WHERE ready = 1 AND type = 'render' ORDER BY priority DESC, scheduled_at, id LIMIT ?2)"
              " RETURNING id, data",
    [COMPLETE] = "UPDATE jobs SET status = 'completed', completed_at = ?1, updated_at = ?1, lease_token = NULL,"
                 " lease_expires_at = NULL, result = '{}' WHERE id = ?2",
    [READ] = "SELECT attributes FROM sessions WHERE id = ?",
    [CHANGE] = "UPDATE sessions SET attributes = ?2, updated_at = ?3, last_activity_at = ?3, version = version + 1"
               " WHERE id = ?1",
};

typedef struct {
    sqlite3 *db;
    sqlite3_stmt *kept[STATEMENTS];
} Connection;

static const char *PRAGMAS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;"
                             "PRAGMA busy_timeout = 60000;";
static const char *PRAGMAS_KEPT = "PRAGMA cache_size = -20000; PRAGMA mmap_size = 268435456; PRAGMA temp_store = MEMORY";
enum { PATIENCE_MS = 60000, MOST_WORKERS = 64, ID_BYTES = 64, MOST_IN_A_BATCH = 1000 };

static int per_call;
static char path[4096], session[256];
static Connection mine;
static char *copied;
static size_t copied_size = 8u << 20;
static char *state;
static long serial;

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static void fail(const char *doing, sqlite3 *db) {
    fprintf(stderr, "reference: %s: %s\n", doing, db ? sqlite3_errmsg(db) : "failed");
    exit(1);
}

static void execute(sqlite3 *db, const char *sql) {
    if (sqlite3_exec(db, sql, NULL, NULL, NULL)) fail(sql, db);
}

static sqlite3 *connect_to_file(void) {
    sqlite3 *db;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL)) fail("open", db);
    sqlite3_busy_timeout(db, PATIENCE_MS);
    execute(db, PRAGMAS);
    return db;
}

static void open_kept(Connection *connection) {
    connection->db = connect_to_file();
    execute(connection->db, PRAGMAS_KEPT);
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(connection->db, SQL[i], -1, SQLITE_PREPARE_PERSISTENT, &connection->kept[i], NULL))
            fail(SQL[i], connection->db);
}

static void close_kept(Connection *connection) {
    for (int i = 0; i < STATEMENTS; i++) sqlite3_finalize(connection->kept[i]);
    sqlite3_close(connection->db);
    connection->db = NULL;
}

/* A call's connection and statement: what is kept, or a new one of each. */
static sqlite3_stmt *begin_call(Connection *connection, int statement) {
    if (!per_call) return connection->kept[statement];
    connection->db = connect_to_file();
    if (sqlite3_prepare_v2(connection->db, SQL[statement], -1, &connection->kept[statement], NULL))
        fail(SQL[statement], connection->db);
    return connection->kept[statement];
}

static void end_call(Connection *connection, int statement) {
    if (!per_call) return;
    sqlite3_finalize(connection->kept[statement]);
    connection->kept[statement] = NULL;
    sqlite3_close(connection->db);
    connection->db = NULL;
}

static void step(Connection *connection, int statement) {
    sqlite3_stmt *prepared = connection->kept[statement];
    if (sqlite3_step(prepared) != SQLITE_DONE) fail(SQL[statement], connection->db);
    sqlite3_reset(prepared);
}

static void write_now(char *text, size_t size) {
    struct timespec at;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &at);
    gmtime_r(&at.tv_sec, &parts);
    size_t length = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + length, size - length, ".%06ldZ", at.tv_nsec / 1000);
}

static void bind_text(sqlite3_stmt *prepared, int index, const char *text) {
    sqlite3_bind_text(prepared, index, text, -1, SQLITE_TRANSIENT);
}

static void bind_entry(sqlite3_stmt *prepared) {
    char params[256], result[128], at[40];
    long n = serial++;
    snprintf(params, sizeof params,
             "{\"tool\":\"set_param\",\"track\":\"drums-%02ld\",\"param\":\"filter.cutoff\",\"value\":0.%03ld,"
             "\"bar\":%ld,\"beat\":%ld,\"source\":\"agent-1\"}", n % 16, n * 37 % 1000, n % 512, n % 4);
    snprintf(result, sizeof result, "{\"ok\":true,\"rev\":%ld,\"took_us\":%ld,\"changed\":[\"filter.cutoff\"],"
             "\"warnings\":[]}", n, n % 997);
    write_now(at, sizeof at);
    bind_text(prepared, 1, session);
    bind_text(prepared, 2, "set_param");
    bind_text(prepared, 3, params);
    bind_text(prepared, 4, result);
    bind_text(prepared, 5, at);
}

/* Copies one value, as somebody who makes structures of rows would; returns where the next goes. */
static size_t copy_value(sqlite3_stmt *prepared, int column, size_t offset) {
    if (sqlite3_column_type(prepared, column) == SQLITE_INTEGER) {
        *(int64_t *)(copied + offset) = sqlite3_column_int64(prepared, column);
        return offset + sizeof(int64_t);
    }
    const void *value = sqlite3_column_blob(prepared, column);
    size_t length = sqlite3_column_bytes(prepared, column);
    if (length) memcpy(copied + offset, value, length);
    return offset + ((length + 8) & ~(size_t)7);
}

static void read_rows(sqlite3 *db, sqlite3_stmt *prepared) {
    size_t offset = 0;
    int columns = sqlite3_column_count(prepared), code;
    while ((code = sqlite3_step(prepared)) == SQLITE_ROW)
        for (int i = 0; i < columns; i++) offset = copy_value(prepared, i, offset);
    if (code != SQLITE_DONE) fail("read", db);
    sqlite3_reset(prepared);
}

static int read_call(int statement, long number) {
    sqlite3_stmt *prepared = begin_call(&mine, statement);
    bind_text(prepared, 1, session);
    if (statement == PAGE_BELOW) sqlite3_bind_int64(prepared, 2, number);
    read_rows(mine.db, prepared);
    end_call(&mine, statement);
    return 0;
}

static void bind_state(sqlite3_stmt *prepared, long bytes) {
    static const char *digest = "0000000000000000000000000000000000000000000000000000000000000000";
    char at[40];
    write_now(at, sizeof at);
    state[0] = (char)serial++;
    bind_text(prepared, 1, session);
    sqlite3_bind_int64(prepared, 2, bytes);
    bind_text(prepared, 3, digest);
    bind_text(prepared, 4, at);
    sqlite3_bind_blob(prepared, 5, state, (int)bytes, SQLITE_STATIC);
}

static int write_call(int statement, long number) {
    sqlite3_stmt *prepared = begin_call(&mine, statement);
    if (!per_call) step(&mine, BEGIN);
    if (statement == SAVE) bind_state(prepared, number);
    else bind_entry(prepared);
    step(&mine, statement);
    if (!per_call) step(&mine, COMMIT);
    end_call(&mine, statement);
    return 0;
}

static int append_open(void) {
    if (per_call) return -1;
    bind_entry(mine.kept[APPEND]);
    step(&mine, APPEND);
    return 0;
}

static int append_many(long rows) {
    if (per_call) return -1;
    step(&mine, BEGIN);
    for (long i = 0; i < rows; i++) append_open();
    step(&mine, COMMIT);
    return 0;
}

static int call(const char *name, long number) {
    if (!strcmp(name, "append")) return write_call(APPEND, 0);
    if (!strcmp(name, "append_open")) return append_open();
    if (!strcmp(name, "append_many")) return append_many(number);
    if (!strcmp(name, "page")) return read_call(PAGE, 0);
    if (!strcmp(name, "page_below")) return read_call(PAGE_BELOW, number);
    if (!strcmp(name, "by_trigger")) return read_call(BY_TRIGGER, 0);
    if (!strcmp(name, "save")) return write_call(SAVE, number);
    if (!strcmp(name, "load")) return read_call(LOAD, 0);
    if (!strcmp(name, "messages")) return read_call(MESSAGES, 0);
    if (!strcmp(name, "journal")) return read_call(JOURNAL, 0);
    return -1;
}

static void print_times(const int64_t *times, long count) {
    putchar('[');
    for (long i = 0; i < count; i++) printf(i ? ",%lld" : "%lld", (long long)times[i]);
    putchar(']');
}

static void chunk(const char *name, long calls, long number) {
    int64_t *times = calloc(calls, sizeof *times);
    int open_one = !strcmp(name, "append_open") && !per_call, refused = 0;
    if (open_one) step(&mine, BEGIN);
    for (long i = 0; i < calls && !refused; i++) {
        int64_t started = now();
        refused = call(name, number);
        times[i] = now() - started;
    }
    if (open_one) step(&mine, COMMIT);
    if (refused) printf("{\"error\":\"no such chunk here\"}\n");
    else {
        printf("{\"ns\":");
        print_times(times, calls);
        printf("}\n");
    }
    free(times);
}

/* What workers that run at once have in common. The ids that were done follow, so that doubles can be told. */
typedef struct {
    atomic_int ready, slots, next_id;
    int64_t began[MOST_WORKERS], ended[MOST_WORKERS];
} Shared;

static Shared *shared;
static char (*done_ids)[ID_BYTES];
static int64_t *waits;
static int workers;
static long rounds, batch_size;

static void *shared_memory(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("mmap", NULL);
    return memory;
}

static int start_together(void) {
    int slot = atomic_fetch_add(&shared->slots, 1);
    atomic_fetch_add(&shared->ready, 1);
    while (atomic_load(&shared->ready) < workers) usleep(100);
    shared->began[slot] = now();
    return slot;
}

static long claim(Connection *connection, char ids[][ID_BYTES]) {
    sqlite3_stmt *prepared = connection->kept[CLAIM];
    char at[40];
    long found = 0;
    write_now(at, sizeof at);
    bind_text(prepared, 1, at);
    sqlite3_bind_int64(prepared, 2, batch_size);
    step(connection, BEGIN);
    while (sqlite3_step(prepared) == SQLITE_ROW)
        snprintf(ids[found++], ID_BYTES, "%s", (const char *)sqlite3_column_text(prepared, 0));
    sqlite3_reset(prepared);
    step(connection, COMMIT);
    return found;
}

static void complete(Connection *connection, char ids[][ID_BYTES], long count) {
    sqlite3_stmt *prepared = connection->kept[COMPLETE];
    char at[40];
    write_now(at, sizeof at);
    step(connection, BEGIN);
    for (long i = 0; i < count; i++) {
        bind_text(prepared, 1, at);
        bind_text(prepared, 2, ids[i]);
        step(connection, COMPLETE);
    }
    step(connection, COMMIT);
}

static void *work_at_jobs(void *unused) {
    static char ids[MOST_IN_A_BATCH][ID_BYTES];
    Connection connection;
    long found;
    open_kept(&connection);
    int slot = start_together();
    while ((found = claim(&connection, ids))) {
        complete(&connection, ids, found);
        for (long i = 0; i < found; i++) {
            long place = atomic_fetch_add(&shared->next_id, 1);
            if (place < rounds * 2) memcpy(done_ids[place], ids[i], ID_BYTES);
        }
    }
    shared->ended[slot] = now();
    close_kept(&connection);
    return unused;
}

static void change_once(Connection *connection) {
    char text[64], at[40];
    step(connection, BEGIN);
    bind_text(connection->kept[READ], 1, session);
    if (sqlite3_step(connection->kept[READ]) != SQLITE_ROW) fail("read", connection->db);
    long value = 0;
    sscanf((const char *)sqlite3_column_text(connection->kept[READ], 0), "{\"n\":%ld", &value);
    sqlite3_reset(connection->kept[READ]);
    write_now(at, sizeof at);
    snprintf(text, sizeof text, "{\"n\":%ld}", value + 1);
    bind_text(connection->kept[CHANGE], 1, session);
    bind_text(connection->kept[CHANGE], 2, text);
    bind_text(connection->kept[CHANGE], 3, at);
    step(connection, CHANGE);
    bind_entry(connection->kept[APPEND]);
    step(connection, APPEND);
    step(connection, COMMIT);
}

static void *work_at_changes(void *unused) {
    Connection connection;
    open_kept(&connection);
    int slot = start_together();
    for (long i = 0; i < rounds; i++) {
        int64_t started = now();
        change_once(&connection);
        waits[slot * rounds + i] = now() - started;
    }
    shared->ended[slot] = now();
    close_kept(&connection);
    return unused;
}

static void run_processes(void *(*work)(void *)) {
    fflush(stdout);
    for (int i = 0; i < workers; i++)
        if (fork() == 0) {
            work(NULL);
            _exit(0);
        }
    for (int i = 0; i < workers; i++) {
        int status;
        wait(&status);
        if (status) fail("a worker", NULL);
    }
}

static void run_threads(void *(*work)(void *)) {
    pthread_t threads[MOST_WORKERS];
    for (int i = 0; i < workers; i++)
        if (pthread_create(&threads[i], NULL, work, NULL)) fail("a thread", NULL);
    for (int i = 0; i < workers; i++) pthread_join(threads[i], NULL);
}

static double seconds_taken(void) {
    int64_t first = shared->began[0], last = shared->ended[0];
    for (int i = 1; i < workers; i++) {
        if (shared->began[i] < first) first = shared->began[i];
        if (shared->ended[i] > last) last = shared->ended[i];
    }
    return (last - first) / 1e9;
}

static int compare_ids(const void *one, const void *other) { return memcmp(one, other, ID_BYTES); }

static void jobs(void) {
    shared = shared_memory(sizeof *shared);
    done_ids = shared_memory(rounds * 2 * ID_BYTES);
    if (mine.db) close_kept(&mine);
    run_processes(work_at_jobs);
    long done = atomic_load(&shared->next_id), doubled = 0;
    if (done > rounds * 2) done = rounds * 2;
    qsort(done_ids, done, ID_BYTES, compare_ids);
    for (long i = 1; i < done; i++) doubled += !memcmp(done_ids[i], done_ids[i - 1], ID_BYTES);
    printf("{\"seconds\":%.6f,\"done\":%ld,\"doubled\":%ld}\n", seconds_taken(), done - doubled, doubled);
}

static void change(const char *kind) {
    shared = shared_memory(sizeof *shared);
    waits = shared_memory(workers * rounds * sizeof *waits);
    if (mine.db) close_kept(&mine);
    if (!strcmp(kind, "threads")) run_threads(work_at_changes);
    else run_processes(work_at_changes);
    printf("{\"seconds\":%.6f,\"ns\":", seconds_taken());
    print_times(waits, workers * rounds);
    printf("}\n");
}

static void open_file(void) {
    if (mine.db && !per_call) close_kept(&mine);
    if (!per_call) open_kept(&mine);
    printf("{\"ok\":true}\n");
}

static void answer(const char *line) {
    char name[64];
    long calls, number = 0;
    if (sscanf(line, "open %4095s %255s", path, session) == 2) open_file();
    else if (sscanf(line, "chunk %63s %ld %ld", name, &calls, &number) >= 2) chunk(name, calls, number);
    else if (sscanf(line, "jobs %d %ld %ld", &workers, &rounds, &batch_size) == 3) jobs();
    else if (sscanf(line, "change %d %ld %63s", &workers, &rounds, name) == 3) change(name);
    else printf("{\"error\":\"no such command\"}\n");
    fflush(stdout);
}

int main(int count, char **arguments) {
    char line[8192];
    per_call = count > 1 && !strcmp(arguments[1], "percall");
    copied = malloc(copied_size);
    state = malloc(4u << 20);
    if (!copied || !state) fail("malloc", NULL);
    for (size_t i = 0; i < 4u << 20; i++) state[i] = (char)(i * 2654435761u >> 13);
    while (fgets(line, sizeof line, stdin) && strncmp(line, "quit", 4)) answer(line);
    if (mine.db && !per_call) close_kept(&mine);
    return 0;
}
