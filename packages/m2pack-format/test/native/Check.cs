// Check.cs - what a C# client does with one sound archive: Check.exe ARCHIVE KEY_ID PUBLIC_HEX CONTENT_HEX PATH.
// Prints the number of files and the SHA-256 of PATH, read in three ways that must agree, then two refusals.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Threading.Tasks;
using Keyturn;

internal static class Check
{
    private static byte[] Bytes(string hex)
    {
        return Enumerable.Range(0, hex.Length / 2).Select(at => Convert.ToByte(hex.Substring(2 * at, 2), 16)).ToArray();
    }

    private static string Hash(byte[] bytes)
    {
        using (SHA256 sha = SHA256.Create())
            return BitConverter.ToString(sha.ComputeHash(bytes)).Replace("-", "").ToLowerInvariant();
    }

    private static string Streamed(M2pArchive archive, string path, int step)
    {
        using (Stream stream = archive.OpenRead(path))
        using (var copy = new MemoryStream())
        {
            stream.Seek(0, SeekOrigin.End);
            stream.Seek(0, SeekOrigin.Begin);
            stream.CopyTo(copy, step);
            return Hash(copy.ToArray());
        }
    }

    private static string Code(Action action)
    {
        try
        {
            action();
            return "none";
        }
        catch (M2pException refusal)
        {
            return refusal.Code;
        }
    }

    private static int Main(string[] args)
    {
        uint keyId = uint.Parse(args[1]);
        var keys = new Dictionary<uint, byte[]> { { keyId, Bytes(args[2]) } };
        using (M2pArchive archive = M2pArchive.Open(args[0], keys))
        {
            Console.WriteLine(archive.Entries.Count());
            M2pEntry entry = archive.Find(args[4]);
            string time = entry.ModifiedUtc == null ? "no time" : entry.ModifiedUtc.Value.ToString("o");
            Console.WriteLine("version " + archive.Version + ", " + entry.Executable + ", " + time);
            Console.WriteLine(Code(() => archive.Read(args[4])));
            archive.Unlock(keyId, Bytes(args[3]));
            var found = new HashSet<string> { Hash(archive.Read(args[4])) };
            found.Add(Hash(archive.Read(archive.Find(args[4].ToUpperInvariant(), true).Path)));
            Parallel.For(0, 16, round =>
            {
                string hash = Streamed(archive, args[4], 1 + 4097 * round);
                lock (found) found.Add(hash);
            });
            foreach (string hash in found) Console.WriteLine(hash);
        }
        keys[keyId][0] ^= 1;
        Console.WriteLine(Code(() => M2pArchive.Open(args[0], keys)));
        Console.WriteLine(Code(() => M2pArchive.Open(args[0], new Dictionary<uint, byte[]>())));
        return 0;
    }
}
